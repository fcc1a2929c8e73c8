"""A search for a network with several exits: its settings and its trials."""

import dataclasses
from collections.abc import Sequence

from tf_adaptive.models.from_preset import build_network
from tf_adaptive.training.loop import check_training
from tf_adaptive.training.progress import TerminalProgress
from tf_adaptive.tuning.multi_exit_trainer import (
    AUGMENTED_PASSES,
    MultiExitTrainer,
    exit_weight_ramp,
)
from tf_adaptive.tuning.space import Choice, Range

from .settings import SearchSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiExitSettings(SearchSettings):
    """What a search for a network with several exits is given.

    Attributes:
        model: name of the network, see `build_network`.
        phase_2_epochs: passes over the features in phase II of IMTA; 0 for phase I alone.
        space: list of `Range` and `Choice`.
    """

    model: str
    phase_2_epochs: int
    space: Sequence[Range | Choice]


class MultiExitSearch:
    """A search for a network with several exits.

    Args:
        settings: `MultiExitSettings`.

    Attributes:
        space: list of `Range` and `Choice`.
        fixed_points, target_gflops: see `write_search_report`: there are none.

    Raises:
        InputError: what is wrong with the settings, before anything is trained.
    """

    fixed_points = ()
    target_gflops = None

    def __init__(self, settings):
        self._settings = settings
        self.space = settings.space
        self._exits = len(self._build("float32").outputs)
        check_training(
            settings.dataset,
            epochs=settings.descent.epochs,
            batch_size=settings.batch_size,
            seed=settings.seed,
            checkpoint_seconds=settings.checkpoint_seconds,
        )
        # Made and dropped: its numbers are refused now, not in the first trial.
        settings.descent.learning_rate_schedule()

    def start(self, run_dir):
        """The `MultiExitTrainer`; nothing is shared by the trials."""
        del run_dir
        settings = self._settings
        print("Objective: mean validation accuracy of all exits", flush=True)
        return MultiExitTrainer(
            settings.dataset,
            self._build,
            dtype=settings.dtype,
            devices=settings.devices,
            descent=settings.descent,
            phase_2_epochs=settings.phase_2_epochs,
            batch_size=settings.batch_size,
            seed=settings.seed,
            checkpoint_seconds=settings.checkpoint_seconds,
            progress=TerminalProgress(),
        )

    def flag_files(self, values, run_dir):
        """The flags of `trainers.train_multi_exit` and `trainers.train_collaboration`.

        Args:
            values: dict of a trial's hyperparameters.
            run_dir: not needed.

        Returns:
            Dictionary from a file's name to a dictionary of flags.
        """
        del run_dir
        settings = self._settings
        weights = exit_weight_ramp(values["exit_weight_ratio"], self._exits)
        first = {
            "model": settings.model,
            "preset": settings.preset,
            "dataset": settings.dataset_name,
            "exit_weights": ",".join(map(str, weights)),
            "gradient_equilibrium": values["gradient_equilibrium"] == "on",
            "epochs": settings.descent.epochs,
            "learning_rate": settings.descent.learning_rate,
        }
        files = {"best.flags": first | settings.shared_flags}
        if settings.phase_2_epochs:
            names = ("schedule", "learning_rate", "momentum", "nesterov", "weight_decay")
            files["best_collaboration.flags"] = {
                "alpha": values["alpha"],
                "temperature": values["distillation_temperature"],
                "epochs": settings.phase_2_epochs,
                # As the trials are trained.
                "augmented_passes": AUGMENTED_PASSES,
                "batch_size": settings.batch_size,
                "seed": settings.seed,
                **{name: getattr(settings.descent, name) for name in names},
            }
        return files

    def _build(self, dtype):
        return build_network(
            self._settings.model,
            self._settings.preset,
            input_shape=self._settings.dataset.image_shape,
            num_classes=self._settings.dataset.num_classes,
            dtype=dtype,
        )
