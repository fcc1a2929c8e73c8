"""Trains a network with several exits and reports what each exit and each budget reaches.

    python -m trainers.train_multi_exit --dataset digits --run_dir runs/digits --epochs 20

The defaults are the paper's of the network: SGD with momentum 0.9 (MSDNet: Nesterov's), weight
decay 1e-4, rate 0.1. CIFAR's presets take 300 epochs at batch 64 and divide the rate by 10 after a
half and three quarters of them, ImageNet's 90 at batch 256, after one and two thirds.
"""

import warnings

import keras
from absl import flags

from tf_adaptive.errors import check_at_least_0, check_choice, check_whole
from tf_adaptive.exits.boosting import with_boosting
from tf_adaptive.exits.gradient_equilibrium import FORMS, with_gradient_equilibrium
from tf_adaptive.exits.losses import (
    check_distillation,
    check_exit_weights,
    check_leaving_share,
)
from tf_adaptive.models.from_preset import build_network
from tf_adaptive.programs import program
from tf_adaptive.runs.checks import take_weights
from tf_adaptive.runs.directory import finish_run, load_finished_run
from tf_adaptive.runs.evaluate import report_run
from tf_adaptive.training.multi_exit_phases import (
    check_teacher_momentum,
    kernels_by_stage,
    phase_1_step,
)
from tf_adaptive.training.recipes import published_recipe

from .flags import network as network_flags
from .flags import network_training
from .flags import pruning as pruning_flags
from .flags import strategy as strategy_flags
from .flags import training as training_flags

flags.adopt_module_key_flags(network_flags)
flags.adopt_module_key_flags(network_training)
flags.adopt_module_key_flags(training_flags)
flags.adopt_module_key_flags(pruning_flags)
flags.adopt_module_key_flags(strategy_flags)
_WEIGHTS_FROM = flags.DEFINE_string(
    "weights_from", None, "finished run of the same network whose weights to start from"
)
_EXIT_WEIGHTS = flags.DEFINE_list("exit_weights", None, "weight of each exit's loss; 1 if unset")
_GRADIENT_EQUILIBRIUM = flags.DEFINE_bool(
    "gradient_equilibrium", False, "Gradient Equilibrium of Li et al. 2019"
)
_GRADIENT_EQUILIBRIUM_FORM = flags.DEFINE_string(
    "gradient_equilibrium_form",
    "paper",
    "what Gradient Equilibrium rescales: paper, all features; released, what the exits read",
)
_BOOSTING_WEIGHT = flags.DEFINE_float(
    "boosting_weight",
    None,
    "boosted exits (Yu et al. 2023), each on top of this share of what the exits before answer, "
    "0.5 as published; unset for exits of their own",
)
_LAST_EXIT_EPOCHS = flags.DEFINE_integer(
    "last_exit_epochs", 0, "epochs at the beginning that train the last exit alone"
)
_ALPHA = flags.DEFINE_float(
    "alpha",
    1.0,
    "share of the labels beside the last exit, which teaches the others, in [0, 1]; 1 for labels "
    "alone",
)
_TEMPERATURE = flags.DEFINE_float("temperature", 3.0, "temperature of that distillation")
_TEACHER_MOMENTUM = flags.DEFINE_float(
    "teacher_momentum",
    None,
    "with --alpha below 1: a running average of the network teaches, as 0.999; unset for itself",
)
_LEAVING_SHARE = flags.DEFINE_float(
    "leaving_share",
    0.0,
    "share of an image's loss that goes to the exit it would leave at, in [0, 1]; 0 for all alike",
)
_LOG_UPDATES = flags.DEFINE_bool(
    "log_updates",
    False,
    "columns train_update_stage_1 … of history.csv: the mean of ‖Δw‖/‖w‖ of each stage's kernels",
)

# Of the longest training in which Gradient Equilibrium was measured, that of
# experiments.gradient_equilibrium at its small scale; the paper's on CIFAR has 211,200.
_STEPS_WITHOUT_GAIN = 4_512


def main():
    dtype = training_flags.layers_dtype()
    # A misspelt network or preset is refused before data are prepared for nothing.
    network_flags.fill_preset()
    drop_shares = network_training.fill_recipe(
        published_recipe(network_flags.MODEL.value, network_flags.PRESET.value)
    )
    check_choice("gradient_equilibrium_form", _GRADIENT_EQUILIBRIUM_FORM.value, FORMS)
    if _BOOSTING_WEIGHT.value is not None:
        check_at_least_0("boosting_weight", _BOOSTING_WEIGHT.value)
    check_distillation(_ALPHA.value, _TEMPERATURE.value)
    check_teacher_momentum(_TEACHER_MOMENTUM.value, _ALPHA.value)
    check_leaving_share(_LEAVING_SHARE.value)
    check_whole("last_exit_epochs", _LAST_EXIT_EPOCHS.value, least=0)
    network_training.check_flags()
    pruning_flags.check_flags()
    run_dir = network_training.RUN_DIR.value
    devices = strategy_flags.chosen()
    if strategy_flags.is_done(devices, run_dir, resume=training_flags.RESUME.value):
        return
    dataset = training_flags.data_of(network_training.DATASET.value)
    keras.utils.set_random_seed(network_training.SEED.value)
    epochs = network_training.EPOCHS.value
    with devices.scope():
        model = _build(dataset, dtype=dtype)
        step = _step(model, network_training.descent(dataset, drop_shares, epochs=epochs))
    network_training.train_in(
        run_dir,
        step,
        dataset,
        devices=devices,
        epochs=epochs,
        config=program.flag_values() | dataset.description(),
        resume=training_flags.RESUME.value,
    )
    strategy_flags.leave_to_chief(devices)
    # The run's model is a float32 one whatever it was trained in: its exits are what is measured.
    trained = _build(dataset, dtype="float32")
    trained.set_weights([variable.numpy() for variable in model.variables])
    finish_run(run_dir, trained)
    report_run(run_dir, dataset=dataset)


def _step(model, descent):
    """The step that the flags ask for."""
    if _WEIGHTS_FROM.value:
        _, other = load_finished_run(_WEIGHTS_FROM.value)
        take_weights(model, other, _WEIGHTS_FROM.value)
    updates_of = kernels_by_stage(model) if _LOG_UPDATES.value else None
    if _GRADIENT_EQUILIBRIUM.value:
        if descent.steps <= _STEPS_WITHOUT_GAIN:
            warnings.warn(
                f"trainings of up to {_STEPS_WITHOUT_GAIN:,} steps gained nothing by Gradient "
                f"Equilibrium at a rate that suits plain ones, and this one has {descent.steps:,}: "
                "try two to four times the --learning_rate (docs/measured.md).",
                stacklevel=1,
            )
        model = with_gradient_equilibrium(model, form=_GRADIENT_EQUILIBRIUM_FORM.value)
    return phase_1_step(
        model,
        descent,
        exit_weights=check_exit_weights(program.numbers(_EXIT_WEIGHTS), len(model.outputs)),
        last_exit_epochs=_LAST_EXIT_EPOCHS.value,
        alpha=_ALPHA.value,
        temperature=_TEMPERATURE.value,
        teacher_momentum=_TEACHER_MOMENTUM.value,
        leaving_share=_LEAVING_SHARE.value,
        pruning=pruning_flags.pruning_of(model, steps=descent.steps),
        updates_of=updates_of,
    )


def _build(dataset, dtype):
    model = build_network(
        network_flags.MODEL.value,
        network_flags.PRESET.value,
        input_shape=dataset.image_shape,
        num_classes=dataset.num_classes,
        dtype=dtype,
    )
    if _BOOSTING_WEIGHT.value is None:
        return model
    return with_boosting(model, weight=_BOOSTING_WEIGHT.value)


if __name__ == "__main__":
    program.run(main, needs=("data", "report", "programs"))
