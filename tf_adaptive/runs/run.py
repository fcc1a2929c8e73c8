"""A finished run, to be used."""

import pathlib

from tf_adaptive.compression.folding import fold_batch_norm, fold_drnet
from tf_adaptive.data.preprocessing import Preprocessing
from tf_adaptive.exits.early_exit import EarlyExit
from tf_adaptive.exits.operating_point import check_no_operating_point, choose_operating_point
from tf_adaptive.models.drnet import is_routed
from tf_adaptive.routing.dispatch import Routing
from tf_adaptive.runs.dataset import describe_data, load_run_dataset
from tf_adaptive.runs.directory import load_finished_run
from tf_adaptive.runs.tables import read_exit_report, read_routing_report


def load_run(run_dir):
    """A finished run, by its directory.

    Args:
        run_dir: the directory.

    Returns:
        `Run`.

    Raises:
        InputError: not a run, an unfinished one, or a damaged one.

    Example:
        >>> run = ta.load_run("runs/mine")
        >>> fast = run.executor()
        >>> fast(run.preprocess(uint8_images))["exit"].shape
        TensorShape([2])
    """
    return Run(run_dir)


class Run:
    """A finished run: its settings and its network, and how both are used.

    Args:
        run_dir: its directory.

    Attributes:
        run_dir: `pathlib.Path`.
        config: what its `config.json` holds.
        model: its network.
        routes: whether that is a DRNet, and not a network with exits.

    Raises:
        InputError: not a run, an unfinished one, or a damaged one.
    """

    def __init__(self, run_dir):
        self.run_dir = pathlib.Path(run_dir)
        self.config, self.model = load_finished_run(run_dir)
        self.routes = is_routed(self.model)
        self._preprocessing = None

    def dataset(self, *, data_dir=None):
        """Its `ImageDataset`, split as it was; see `load_run_dataset`."""
        return load_run_dataset(self.config, data_dir=data_dir)

    def description(self, *, data_dir=None):
        """What a user of its network must know of the data; see `describe_data`."""
        outputs = self.model.branches[0].outputs if self.routes else self.model.outputs
        return describe_data(self.config, outputs[0].shape[-1], data_dir)

    def report(self):
        """What its report says: `(rows, point)` of a DRNet, see `read_routing_report`; of a network
        with exits `ExitRows`, see `read_exit_report`.

        Raises:
            InputError: the run has no report, or that of another network.
        """
        if self.routes:
            return read_routing_report(self.run_dir)
        return read_exit_report(self.run_dir, len(self.model.outputs))

    def operating_point(self, **choice):
        """The thresholds that its report gives for a wish, or of a DRNet what its choice gives.

        Args:
            **choice: what `choose_operating_point` takes beside the report; a DRNet has none of it.

        Returns:
            `OperatingPoint` or `RoutingPoint`.

        Raises:
            InputError: no report, or what `choose_operating_point` refuses.
        """
        if self.routes:
            check_no_operating_point(**choice)
            return self.report()[1]
        return choose_operating_point(self.report(), **choice)

    def executor(self, point=None, *, dtype=None):
        """The network as it is used, its batch norms folded and its weights constants.

        Args:
            point: `OperatingPoint`, or thresholds; None for what `operating_point()` gives. A
                DRNet has none.
            dtype: see `fold_batch_norm`.

        Returns:
            `EarlyExit`, or of a DRNet `Routing`.

        Raises:
            InputError: what `operating_point` or `EarlyExit` refuses.
        """
        if self.routes:
            check_no_operating_point(point=point)
            networks = fold_drnet(self.model, dtype=dtype)
            return Routing(self.model, networks=networks, constant_weights=True)
        point = self.operating_point() if point is None else point
        folded = fold_batch_norm(self.model, dtype=dtype)
        return EarlyExit(folded, point, constant_weights=True)

    def preprocess(self, images):
        """Images as people have them, as the network takes them.

        Args:
            images: uint8 `(batch, height, width, channels)`, of any height and width.

        Returns:
            float32 `(batch, height, width, channels)` of the network's size, normalised.
        """
        if self._preprocessing is None:
            self._preprocessing = Preprocessing.of(self.description())
        return self._preprocessing.images(images)
