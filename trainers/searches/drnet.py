"""What a search for a DRNet's routing is about: its flags, its space, and the shared classifier."""

import pathlib

import keras
from absl import flags

from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.models.drnet import DRNet
from tf_adaptive.programs import program
from tf_adaptive.routing.branches import check_resolutions
from tf_adaptive.routing.costs import branch_costs
from tf_adaptive.routing.losses import check_target_gflops
from tf_adaptive.runs.directory import finish_run, load_finished_run
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

from ..flags import network as network_flags
from ..flags import search as search_flags
from ..flags import training as training_flags
from ..flags.resumed import MAY_DIFFER

_TARGET_GFLOPS = flags.DEFINE_float(
    "target_gflops", None, "mean cost of the classifier to aim at, in 10^9 multiply-accumulates"
)
_RESOLUTIONS = flags.DEFINE_list("resolutions", None, "candidates, falling; the preset's if unset")
_OTHER_RESOLUTIONS = flags.DEFINE_multi_string(
    "other_resolutions",
    None,
    "candidates to search beside --resolutions, with the same largest one; may be repeated",
)
_STAGE_1_FROM = flags.DEFINE_string(
    "stage_1_from", None, "another run whose finished stage 1 all trials start from"
)
_STAGE_1_EPOCHS = flags.DEFINE_integer("stage_1_epochs", 70, "passes over the images in stage 1")
_STAGE_2_LEARNING_RATE = flags.DEFINE_float(
    "stage_2_learning_rate", None, "highest learning rate of stage 2; that of stage 1 if unset"
)
_DENSE = flags.DEFINE_bool("dense", False, "run every image at every resolution in stage 2 too")
_FLOPS_WEIGHTS = flags.DEFINE_list(
    "flops_weights", ["0.02", "2"], "range of the weight of the FLOPs loss"
)
_TARGET_FACTORS = flags.DEFINE_list(
    "target_factors",
    None,
    "range of the target inside the FLOPs loss, as a part of --target_gflops; 0.85,1.15 within "
    "what the resolutions cost if unset",
)
_TEMPERATURES = flags.DEFINE_list(
    "temperatures", ["0.3", "3"], "range of the temperature of the choice at first"
)
_FINAL_TEMPERATURES = flags.DEFINE_list(
    "final_temperatures", ["0.1", "3"], "range of the temperature of the choice at the end"
)
_PREDICTOR_FACTORS = flags.DEFINE_list(
    "predictor_learning_rate_factors",
    ["0.03", "3"],
    "range of the predictor's rate beside the classifier's",
)

_TARGET_FACTOR_ENDS = (0.85, 1.15)


class DRNetSearch:
    """A search for a DRNet's second phase as the flags want it.

    Attributes:
        dataset: `ImageDataset`.
        space: list of `Range` and `Choice`.
        fixed_points, target_gflops: see `write_search_report`; there after `start`.

    Raises:
        InputError: what is wrong with the flags, before anything is trained.
    """

    def __init__(self):
        check_choice("preset", network_flags.PRESET.value, DRNet.presets)
        program.fill_unset(epochs=100, batch_size=256, warmup_epochs=3.0, nesterov=False)
        self._dtype = training_flags.layers_dtype()
        self._sets = _candidate_sets()
        # Without its target's factor, which needs the costs, a space of one point is that already.
        ranges = _ranges(self._sets)
        self.dataset = training_flags.data_of(search_flags.DATASET.value)
        self._union = sorted({side for sides in self._sets for side in sides}, reverse=True)
        if self.dataset.image_shape[0] != self._union[0]:
            raise InputError(
                f"Images must be of the largest of `resolutions`, {self._union[0]} pixels a side. "
                f"Received: {search_flags.DATASET.value} at {self.dataset.image_shape[0]}; choose "
                f"other --resolutions, or resize the images with --image_size {self._union[0]}"
            )
        keras.utils.set_random_seed(search_flags.SEED.value)
        self._model = DRNet.from_preset(
            network_flags.PRESET.value,
            dtype=self._dtype,
            resolutions=self._union,
            channels=self.dataset.image_shape[-1],
            num_classes=self.dataset.num_classes,
            seed=search_flags.SEED.value,
        )
        self._costs = branch_costs(self._model)
        self.space = [self._target_factors(), *ranges]
        check_space(self.space)
        self._check_training()
        self._stage_1 = None
        if _STAGE_1_FROM.value:
            self._stage_1 = load_classifier_phase(
                _STAGE_1_FROM.value, resolutions=self._union, config=self.config()
            )

    def config(self):
        """Every setting of the search, in values JSON can hold."""
        return program.flag_values() | self.dataset.description()

    def start(self, run_dir):
        """Trains the first phase where that is to be done yet, and gives the `DRNetTrainer`.

        Args:
            run_dir: `pathlib.Path` of the search's directory, which exists.
        """
        if self._stage_1 is None:
            directory = run_dir / "stage_1"
            if not (directory / "model.keras").exists():
                print("Stage 1, shared by all trials: the classifier", flush=True)
                train_or_resume(
                    self._classifier_step(),
                    self.dataset,
                    epochs=_STAGE_1_EPOCHS.value,
                    batch_size=search_flags.BATCH_SIZE.value,
                    seed=search_flags.SEED.value,
                    run_dir=directory,
                    config=self.config(),
                    may_differ=MAY_DIFFER,
                    checkpoint_seconds=training_flags.CHECKPOINT_SECONDS.value,
                    progress=TerminalProgress(),
                )
                finish_run(directory, self._model)
            # Also where it was just trained: a search that goes on later must not differ.
            _, self._stage_1 = load_finished_run(directory)
        trainer = DRNetTrainer(
            self.dataset,
            self._stage_1,
            preset=network_flags.PRESET.value,
            dtype=self._dtype,
            target_gflops=_TARGET_GFLOPS.value,
            descent=self._routing_descent(),
            dense=_DENSE.value,
            batch_size=search_flags.BATCH_SIZE.value,
            seed=search_flags.SEED.value,
            checkpoint_seconds=training_flags.CHECKPOINT_SECONDS.value,
            progress=TerminalProgress(),
        )
        self.fixed_points = trainer.fixed_points
        # The points' costs have the predictor's in them, which the target has not.
        self.target_gflops = _TARGET_GFLOPS.value + self._costs.predictor_macs / 1e9
        print(
            "Objective: validation accuracy less "
            f"{trainer.points_per_gflop * _TARGET_GFLOPS.value / 100:.3f} points for each 1 % of "
            f"mean cost above {_TARGET_GFLOPS.value:g} GFLOPs",
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
        stage_1_from = pathlib.Path(_STAGE_1_FROM.value) if _STAGE_1_FROM.value else run_dir
        given = {
            "preset": network_flags.PRESET.value,
            "dataset": search_flags.DATASET.value,
            "target_gflops": values["target_factor"] * _TARGET_GFLOPS.value,
            **{name: values[name] for name in values if name != "target_factor"},
            "stage_1_from": stage_1_from.resolve(),
            "dense": _DENSE.value,
            "stage_1_epochs": _STAGE_1_EPOCHS.value,
            "stage_2_epochs": search_flags.EPOCHS.value,
            "learning_rate": search_flags.LEARNING_RATE.value,
            "stage_2_learning_rate": _STAGE_2_LEARNING_RATE.value,
        }
        return {"best.flags": given | search_flags.shared_flags()}

    def _target_factors(self):
        """The range of α as a part of the target, all of it within what the candidates cost."""
        target = _TARGET_GFLOPS.value
        costs = dict(zip(self._costs.resolutions, self._costs.branch_gflops, strict=True))
        sets = [[costs[side] for side in sides] for sides in self._sets]
        if target is None:
            raise InputError(
                "`target_gflops` must be given, from "
                f"{max(map(min, sets)):.4g} to {min(map(max, sets)):.4g}, the cost of the cheapest "
                "and of the dearest resolution. Received: none"
            )
        for gflops in sets:
            check_target_gflops(gflops, target)
        # A little within, so that no rounding leads out.
        least = (1 + 1e-9) * max(map(min, sets)) / target
        most = (1 - 1e-9) * min(map(max, sets)) / target
        name = "target_factor"
        if _TARGET_FACTORS.value is None:
            ends = max(least, _TARGET_FACTOR_ENDS[0]), min(most, _TARGET_FACTOR_ENDS[1])
            return Range(name, *ends, default=1.0)
        given = search_flags.range_of(_TARGET_FACTORS, name, default=1.0, log=False)
        if not least <= given.least <= given.most <= most:
            raise InputError(
                f"`target_factors` must be from {least:.4g} to {most:.4g}, where the target is "
                "one that the resolutions can meet, and rise. "
                f"Received: --target_factors={','.join(_TARGET_FACTORS.value)}"
            )
        return given

    def _check_training(self):
        for epochs in (_STAGE_1_EPOCHS.value, search_flags.EPOCHS.value):
            check_training(
                self.dataset,
                epochs=epochs,
                batch_size=search_flags.BATCH_SIZE.value,
                seed=search_flags.SEED.value,
                checkpoint_seconds=training_flags.CHECKPOINT_SECONDS.value,
            )
        # Made and dropped: their numbers are refused now, not after the first phase.
        self._classifier_step()
        values = default_values(self.space)
        routing_step(
            self._model,
            self._costs,
            self._routing_descent(),
            target_gflops=_TARGET_GFLOPS.value,
            flops_weight=values["flops_weight"],
            temperature=values["temperature"],
            final_temperature=values["final_temperature"],
            predictor_learning_rate_factor=values["predictor_learning_rate_factor"],
            dense=_DENSE.value,
        )

    def _classifier_step(self):
        return classifier_step(
            self._model, search_flags.shared_descent(self.dataset, epochs=_STAGE_1_EPOCHS.value)
        )

    def _routing_descent(self):
        return search_flags.shared_descent(
            self.dataset,
            epochs=search_flags.EPOCHS.value,
            learning_rate=_STAGE_2_LEARNING_RATE.value,
        )


def _candidate_sets():
    """The candidates of --resolutions or the preset, then those to search beside them."""
    first = program.numbers(_RESOLUTIONS, int)
    if first is None:
        first = DRNet.presets[network_flags.PRESET.value]["resolutions"]
    sets = [tuple(first)]
    for text in _OTHER_RESOLUTIONS.value or []:
        try:
            sets.append(tuple(int(side) for side in text.split(",")))
        except ValueError:
            raise InputError(
                "`other_resolutions` must be whole numbers with commas between. "
                f"Received: --other_resolutions={text}"
            ) from None
    for sides in sets:
        check_resolutions(sides)
        if sides[0] != sets[0][0]:
            raise InputError(
                "All candidates of `other_resolutions` must have the largest one of the first, "
                f"{sets[0][0]}, as stage 1 is the same. Received: {','.join(map(str, sides))}"
            )
    return list(dict.fromkeys(sets))


def _ranges(candidate_sets):
    """The hyperparameters but for the target's factor."""
    given = [
        search_flags.range_of(_FLOPS_WEIGHTS, "flops_weight", default=0.2),
        search_flags.range_of(_TEMPERATURES, "temperature", default=1.0),
        search_flags.range_of(_FINAL_TEMPERATURES, "final_temperature", default=1.0),
        search_flags.range_of(_PREDICTOR_FACTORS, "predictor_learning_rate_factor", default=0.1),
    ]
    sets = tuple(",".join(map(str, sides)) for sides in candidate_sets)
    return [*given, Choice("resolutions", sets, sets[0])]
