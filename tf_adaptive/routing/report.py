"""The report of a network that picks resolutions: tables and figures in a folder."""

import dataclasses
import math
import pathlib

import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.reports.files import check_directory, put_in_place
from tf_adaptive.reports.logits import log_probabilities
from tf_adaptive.reports.pictures import checked_class_names, picture_grid
from tf_adaptive.routing import plots
from tf_adaptive.routing.calibration import (
    fit_predictor_temperature,
    predictor_calibration,
)
from tf_adaptive.routing.costs import branch_costs
from tf_adaptive.routing.evaluation import (
    ResolutionRow,
    choices_by_scale,
    compare_choices,
    routed_collector,
)
from tf_adaptive.routing.operating_point import RoutingPoint
from tf_adaptive.routing.timing import routing_seconds

_SCALE_FIGURE = "resolution_against_scale.png"
_LATENCY_FIGURE = "accuracy_against_latency.png"
_TIMED_BATCH_SIZE = 64
_TIMED_BATCHES = 4
_TIMED_PASSES = 5


class RoutingReport:
    """What a network that picks resolutions reaches: at each of them, chosen, and at random.

    Args:
        logits, choices, labels, resolutions, branch_macs, predictor_macs: of the test images,
            see `compare_choices`.
        pictures: a function from a list of test positions to their images, uint8
            `(height, width, 1 or 3)` each.
        class_names: a name per class; the class numbers when None.
        object_scales: `(samples,)`, see `choices_by_scale`; None where they are not known.
        fixed_milliseconds: measured time per image at each resolution, or None.
        routed_milliseconds: measured time per image of the routed network, or None.
        calibration: `PredictorCalibration` on the test images, or None.
        probabilities: float `(samples, resolutions)`, what the predictor gives each; None where
            they are not known.

    Attributes:
        resolutions: a list of `ResolutionRow`, in the order given.
        choices: `ChoiceRow`s, of the router, of a random choice of its cost and of a uniform one.
        calibration: as given.

    Raises:
        InputError: what `compare_choices` and `choices_by_scale` refuse, a wrong number of
            class names, scales or times.
    """

    def __init__(
        self,
        logits,
        choices,
        labels,
        resolutions,
        branch_macs,
        predictor_macs,
        pictures,
        *,
        class_names=None,
        object_scales=None,
        fixed_milliseconds=None,
        routed_milliseconds=None,
        calibration=None,
        probabilities=None,
    ):
        self._probabilities = probabilities
        self.calibration = calibration
        self.resolutions, self.choices = compare_choices(
            logits, choices, labels, resolutions, branch_macs, predictor_macs
        )
        self._logits, self._labels = logits, np.asarray(labels)
        self._chosen = np.asarray(choices)
        self._class_names = checked_class_names(class_names, logits.shape[-1])
        self._pictures = pictures
        _check_times(fixed_milliseconds, routed_milliseconds, len(resolutions))
        self._fixed_milliseconds = fixed_milliseconds
        self._routed_milliseconds = routed_milliseconds
        self._scales = None
        if object_scales is not None:
            self._scales = choices_by_scale(choices, object_scales, resolutions)

    def operating_point(self):
        """What the choice gives on the test images, a `RoutingPoint`."""
        router = self.choices[0]
        return RoutingPoint(
            resolutions=tuple(row.resolution for row in self.resolutions),
            accuracy_percent=router.accuracy_percent,
            mean_macs=router.mean_macs,
            shares=router.shares,
            temperature=None if self.calibration is None else self.calibration.temperature,
        )

    def write(self, directory):
        """Writes `resolutions.csv`, `comparison.csv` and the figures into a folder.

        The figures are `accuracy_against_mean_macs.png`, `images_per_resolution.png` and
        `smallest_right_resolution.png`, with object scales `resolution_against_scale.png`, and with
        times `accuracy_against_latency.png`; `calibration.csv` says what `calibration` does. Each
        file is put in place whole; where anything fails before that, none is. A former report is
        replaced, with the figures that this one lacks.

        Args:
            directory: the folder, made when missing.

        Raises:
            InputError: `directory` is a file.
        """
        check_directory(directory)
        figures = {
            "accuracy_against_mean_macs.png": plots.accuracy_against_mean_macs(
                self.resolutions, self.choices
            ),
            "images_per_resolution.png": self._images_per_resolution(),
            "smallest_right_resolution.png": plots.smallest_right_resolution(self.resolutions),
        }
        pixels = [row.resolution for row in self.resolutions]
        if self._scales is not None:
            figures[_SCALE_FIGURE] = plots.resolution_against_scale(self._scales, pixels)
        if self._fixed_milliseconds is not None:
            figures[_LATENCY_FIGURE] = plots.accuracy_against_latency(
                self.resolutions,
                self.choices,
                self._fixed_milliseconds,
                self._routed_milliseconds,
            )
        tables = {
            "resolutions.csv": resolution_table(self.resolutions, self._fixed_milliseconds),
            "comparison.csv": comparison_table(self.choices, pixels, self._routed_milliseconds),
        }
        if self.calibration is not None:
            tables["calibration.csv"] = [dataclasses.asdict(self.calibration)]
        put_in_place(directory, tables, figures)
        for name in {_SCALE_FIGURE, _LATENCY_FIGURE} - set(figures):
            (pathlib.Path(directory) / name).unlink(missing_ok=True)

    def _images_per_resolution(self):
        router = self.choices[0]
        grids = [
            picture_grid(
                f"Seen at {row.resolution} pixels",
                np.flatnonzero(self._chosen == number),
                self._logits[number].argmax(axis=-1),
                self._labels,
                self._pictures,
                most=20,
                note=None if self._probabilities is None else self._preferences_in_words,
            )
            for number, row in enumerate(self.resolutions)
        ]
        title = (
            f"Each image at the resolution chosen for it: {router.mean_macs / 1e6:,.1f} million "
            f"MACs per image, accuracy {router.accuracy_percent:.1f} %"
        )
        return plots.images_per_resolution(grids, self._class_names, title)

    def _preferences_in_words(self, index):
        """What the predictor thinks of a test image (figure 4)."""
        return "\n".join(
            f"{row.resolution}: {probability:.2f}"
            for row, probability in zip(self.resolutions, self._probabilities[index], strict=True)
        )


def evaluate_routing(model, dataset, *, batch_size, shown):
    """Collects logits at every resolution and the choices on the test images, times, and reports.

    The predictor's temperature is of the validation images.

    Args:
        model: `tf_adaptive.DRNet`.
        dataset: `ImageDataset`.
        batch_size: images in a batch.
        shown: see `tf_adaptive.exits.report.evaluate_exits`.

    Returns:
        `RoutingReport`.
    """
    collect = routed_collector(model)
    (logits, preferences, labels), validation = (
        collect(shown(dataset.batches(split, batch_size), split))
        for split in ("test", "validation")
    )
    validation_logits, validation_preferences, validation_labels = validation
    temperature = fit_predictor_temperature(
        validation_preferences, validation_logits, validation_labels
    )
    calibration = predictor_calibration(temperature, preferences, logits, labels)
    costs = branch_costs(model)
    fixed_milliseconds, routed_milliseconds = _milliseconds(model, dataset)
    return RoutingReport(
        logits,
        preferences.argmax(axis=-1),
        labels,
        costs.resolutions,
        costs.branch_macs,
        costs.predictor_macs,
        lambda indices: dataset.pictures("test", indices),
        class_names=dataset.class_names,
        object_scales=dataset.object_scales("test"),
        fixed_milliseconds=fixed_milliseconds,
        routed_milliseconds=routed_milliseconds,
        calibration=calibration,
        probabilities=np.exp(log_probabilities(preferences / temperature)),
    )


def _milliseconds(model, dataset):
    """Median milliseconds per test image, at each resolution and routed."""
    batches = [
        images for images, _ in dataset.batches("test", _TIMED_BATCH_SIZE).take(_TIMED_BATCHES)
    ]
    medians = np.median(routing_seconds(model, batches, repeats=_TIMED_PASSES), axis=0)
    *fixed, routed = (1000 * medians / sum(len(images) for images in batches)).tolist()
    return fixed, routed


def resolution_table(resolution_rows, fixed_milliseconds=None):
    """The rows of `resolutions.csv`: a dict from column to text or number per resolution."""
    table = [
        {
            "resolution": row.resolution,
            "macs": row.macs,
            "accuracy_percent": f"{row.accuracy_percent:.4f}",
            "router_share": f"{row.share:.6f}",
            "smallest_right_share": f"{row.smallest_right_share:.6f}",
            **_top_5(row),
        }
        for row in resolution_rows
    ]
    if fixed_milliseconds is not None:
        for line, milliseconds in zip(table, fixed_milliseconds, strict=True):
            line["milliseconds_per_image"] = f"{milliseconds:.4f}"
    return table


def comparison_table(choice_rows, resolutions, routed_milliseconds=None):
    """The rows of `comparison.csv`: a dict from column to text or number for each choice."""
    table = [
        {
            "choice": row.choice,
            "mean_macs": row.mean_macs,
            "accuracy_percent": f"{row.accuracy_percent:.4f}",
            "deviation_points": f"{row.deviation_points:.4f}",
            "line_percent": f"{row.line_percent:.4f}",
            "above_line_points": f"{row.above_line_points:.4f}",
            **_top_5(row),
            **{
                f"share_{resolution}": f"{share:.6f}"
                for resolution, share in zip(resolutions, row.shares, strict=True)
            },
        }
        for row in choice_rows
    ]
    if routed_milliseconds is not None:
        # A random choice is not timed: it is there for its accuracy.
        for line in table:
            is_router = line["choice"] == "router"
            line["milliseconds_per_image"] = f"{routed_milliseconds:.4f}" if is_router else ""
    return table


def _top_5(row):
    return {} if row.top_5_percent is None else {"top_5_percent": f"{row.top_5_percent:.4f}"}


def rows_of_tables(resolutions_table, comparison_rows, calibration_rows=()):
    """What `resolutions.csv` and `comparison.csv` hold of the choice, as they were written.

    Args:
        resolutions_table, comparison_rows, calibration_rows: their rows, and those of
            `calibration.csv` where there is one, dictionaries from column to text.

    Returns:
        `(resolution_rows, point)`: a list of `ResolutionRow`, and the `RoutingPoint`.

    Raises:
        InputError: tables that are not a report's.
    """
    try:
        rows = [
            ResolutionRow(
                resolution=int(row["resolution"]),
                macs=int(row["macs"]),
                accuracy_percent=float(row["accuracy_percent"]),
                share=float(row["router_share"]),
            )
            for row in resolutions_table
        ]
        (router,) = (row for row in comparison_rows if row["choice"] == "router")
        point = RoutingPoint(
            resolutions=tuple(row.resolution for row in rows),
            accuracy_percent=float(router["accuracy_percent"]),
            mean_macs=int(router["mean_macs"]),
            shares=tuple(float(router[f"share_{row.resolution}"]) for row in rows),
            temperature=next((float(row["temperature"]) for row in calibration_rows), None),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "The report's resolutions.csv and comparison.csv must be of this network: run "
            f"trainers.evaluate again. Received: a row that does not fit ({error})."
        ) from error
    return rows, point


def _check_times(fixed_milliseconds, routed_milliseconds, count):
    if fixed_milliseconds is None and routed_milliseconds is None:
        return
    if fixed_milliseconds is None or routed_milliseconds is None:
        raise InputError(
            "`fixed_milliseconds` and `routed_milliseconds` must be given together. Received: "
            f"fixed_milliseconds={fixed_milliseconds}, routed_milliseconds={routed_milliseconds}."
        )
    times = [*fixed_milliseconds, routed_milliseconds]
    if len(times) != count + 1 or not all(math.isfinite(time) and time > 0 for time in times):
        raise InputError(
            f"`fixed_milliseconds` must hold {count} times above 0, one per resolution, and "
            "`routed_milliseconds` one. Received: "
            f"fixed_milliseconds={list(fixed_milliseconds)}, "
            f"routed_milliseconds={routed_milliseconds}."
        )
