"""A search for a DRNet's routing: its settings, its space, and the classifier that trials share."""

import dataclasses
import pathlib
from collections.abc import Sequence

import keras

from tf_adaptive.errors import InputError
from tf_adaptive.models.drnet import DRNet
from tf_adaptive.routing.costs import branch_costs
from tf_adaptive.routing.losses import check_target_gflops
from tf_adaptive.runs.directory import finish_run, load_finished_run
from tf_adaptive.training.descent import Descent
from tf_adaptive.training.drnet_phases import (
    classifier_step,
    load_classifier_phase,
    routing_step,
)
from tf_adaptive.training.loop import check_training
from tf_adaptive.training.progress import TerminalProgress
from tf_adaptive.tuning.drnet_trainer import DRNetTrainer
from tf_adaptive.tuning.resumed import train_or_resume
from tf_adaptive.tuning.space import Choice, Range, check_space, default_values

from ..flags.resumed import MAY_DIFFER
from .settings import SearchSettings

_TARGET_FACTOR_ENDS = (0.85, 1.15)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DRNetSettings(SearchSettings):
    """What a search for a DRNet's second phase is given.

    Attributes:
        descent: `Descent` of that phase, which a trial is.
        classifier_descent: that of the first phase.
        stage_2_learning_rate: the rate in `descent` where one was given, else None.
        stage_1_from: another run whose finished first phase all trials start from, or None.
        candidate_sets: the candidates, largest first, then those to search beside them.
        ranges: of the hyperparameters, but for the target's factor.
        target_gflops: the mean cost of the classifier wanted, in 10⁹ multiply-accumulates.
        target_factors: `Range` of the target inside the FLOPs loss as a part of that; None for
            what the resolutions can meet of the default.
        target_factors_given: the same as text.
        dense: see `RoutedStep`.
    """

    classifier_descent: Descent
    stage_2_learning_rate: float | None
    stage_1_from: str | None
    candidate_sets: Sequence[tuple[int, ...]]
    ranges: Sequence[Range | Choice]
    target_gflops: float | None
    target_factors: Range | None
    target_factors_given: str | None
    dense: bool


class DRNetSearch:
    """A search for a DRNet's second phase.

    Args:
        settings: `DRNetSettings`.

    Attributes:
        space: list of `Range` and `Choice`.
        fixed_points, target_gflops: see `write_search_report`; there after `start`.

    Raises:
        InputError: what is wrong with the settings, before anything is trained.
    """

    def __init__(self, settings):
        self._settings = settings
        dataset = settings.dataset
        sides = {side for sides in settings.candidate_sets for side in sides}
        self._union = sorted(sides, reverse=True)
        if dataset.image_shape[0] != self._union[0]:
            raise InputError(
                f"Images must be of the largest of `resolutions`, {self._union[0]} pixels a side. "
                f"Received: {settings.dataset_name} at {dataset.image_shape[0]}; choose "
                f"other --resolutions, or resize the images with --image_size {self._union[0]}."
            )
        keras.utils.set_random_seed(settings.seed)
        with settings.devices.scope():
            self._model = DRNet.from_preset(
                settings.preset,
                dtype=settings.dtype,
                resolutions=self._union,
                channels=dataset.image_shape[-1],
                num_classes=dataset.num_classes,
                seed=settings.seed,
            )
        self._costs = branch_costs(self._model)
        self.space = [self._target_factors(), *settings.ranges]
        check_space(self.space)
        self._check_training()
        self._trained = None
        if settings.stage_1_from:
            self._trained = load_classifier_phase(
                settings.stage_1_from, resolutions=self._union, config=settings.config
            )

    def start(self, run_dir):
        """Trains the first phase where that is to be done yet, and gives the `DRNetTrainer`.

        Args:
            run_dir: `pathlib.Path` of the search's directory, which exists.
        """
        settings = self._settings
        if self._trained is None:
            directory = run_dir / "stage_1"
            if not (directory / "model.keras").exists():
                self._train_classifier(directory)
            # Also where it was just trained: a search that goes on later must not differ.
            _, self._trained = load_finished_run(directory)
        trainer = DRNetTrainer(
            settings.dataset,
            self._trained,
            preset=settings.preset,
            dtype=settings.dtype,
            devices=settings.devices,
            target_gflops=settings.target_gflops,
            descent=settings.descent,
            dense=settings.dense,
            batch_size=settings.batch_size,
            seed=settings.seed,
            checkpoint_seconds=settings.checkpoint_seconds,
            progress=TerminalProgress(),
        )
        self.fixed_points = trainer.fixed_points
        # The points' costs have the predictor's in them, which the target has not.
        self.target_gflops = settings.target_gflops + self._costs.predictor_macs / 1e9
        print(
            "Objective: validation accuracy less "
            f"{trainer.points_per_gflop * settings.target_gflops / 100:.3f} points for each 1 % of "
            f"mean cost above {settings.target_gflops:g} GFLOPs",
            flush=True,
        )
        return trainer

    def flag_files(self, values, run_dir):
        """The flags of `trainers.train_drnet` for a trial's hyperparameters.

        Args:
            values: dict of them.
            run_dir: `pathlib.Path` of the search's directory.

        Returns:
            Dictionary from a file's name to a dictionary of flags.
        """
        settings = self._settings
        stage_1_from = pathlib.Path(settings.stage_1_from or run_dir)
        given = {
            "preset": settings.preset,
            "dataset": settings.dataset_name,
            "target_gflops": values["target_factor"] * settings.target_gflops,
            **{name: values[name] for name in values if name != "target_factor"},
            "stage_1_from": stage_1_from.resolve(),
            "dense": settings.dense,
            "stage_1_epochs": settings.classifier_descent.epochs,
            "stage_2_epochs": settings.descent.epochs,
            "learning_rate": settings.classifier_descent.learning_rate,
            "stage_2_learning_rate": settings.stage_2_learning_rate,
        }
        return {"best.flags": given | settings.shared_flags}

    def _target_factors(self):
        """The range of α as a part of the target, all of it within what the candidates cost."""
        target = self._settings.target_gflops
        costs = dict(zip(self._costs.resolutions, self._costs.branch_gflops, strict=True))
        sets = [[costs[side] for side in sides] for sides in self._settings.candidate_sets]
        if target is None:
            raise InputError(
                "`target_gflops` must be given, from "
                f"{max(map(min, sets)):.4g} to {min(map(max, sets)):.4g}, the cost of the cheapest "
                "and of the dearest resolution. Received: none."
            )
        for gflops in sets:
            check_target_gflops(gflops, target)
        # A little within, so that no rounding leads out.
        least = (1 + 1e-9) * max(map(min, sets)) / target
        most = (1 - 1e-9) * min(map(max, sets)) / target
        settings = self._settings
        given = settings.target_factors
        if given is None:
            ends = max(least, _TARGET_FACTOR_ENDS[0]), min(most, _TARGET_FACTOR_ENDS[1])
            return Range("target_factor", *ends, default=1.0)
        if not least <= given.least <= given.most <= most:
            raise InputError(
                f"`target_factors` must be from {least:.4g} to {most:.4g}, where the target is "
                "one that the resolutions can meet, and rise. "
                f"Received: --target_factors={settings.target_factors_given}."
            )
        return given

    def _check_training(self):
        settings = self._settings
        for descent in (settings.classifier_descent, settings.descent):
            check_training(
                settings.dataset,
                epochs=descent.epochs,
                batch_size=settings.batch_size,
                seed=settings.seed,
                checkpoint_seconds=settings.checkpoint_seconds,
            )
        # Made and dropped: their numbers are refused now, not after the first phase.
        values = default_values(self.space)
        with settings.devices.scope():
            classifier_step(self._model, settings.classifier_descent)
            routing_step(
                self._model,
                self._costs,
                settings.descent,
                target_gflops=settings.target_gflops,
                flops_weight=values["flops_weight"],
                temperature=values["temperature"],
                final_temperature=values["final_temperature"],
                predictor_learning_rate_factor=values["predictor_learning_rate_factor"],
                dense=settings.dense,
            )

    def _train_classifier(self, directory):
        settings = self._settings
        print("Stage 1, shared by all trials: the classifier", flush=True)
        with settings.devices.scope():
            step = classifier_step(self._model, settings.classifier_descent)
        train_or_resume(
            step,
            settings.dataset,
            devices=settings.devices,
            epochs=settings.classifier_descent.epochs,
            batch_size=settings.batch_size,
            seed=settings.seed,
            run_dir=directory,
            config=settings.config,
            may_differ=MAY_DIFFER,
            checkpoint_seconds=settings.checkpoint_seconds,
            progress=TerminalProgress(),
        )
        finish_run(directory, self._model)
