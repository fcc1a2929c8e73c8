"""Trains a DRNet: a classifier at several resolutions, then the predictor that picks among them.

    python -m trainers.train_drnet --preset drnet_resnet6_grey --dataset fashion_mnist_scaled \
        --target_gflops 0.045 --run_dir runs/scaled

The first phase, of the flags --stage_1_..., trains the classifier at all resolutions together, the
second, of --stage_2_..., predictor and classifier on each image's own. The defaults are the
paper's: SGD with momentum 0.9, weight decay 1e-4, batch 256, rate 0.1 with 3 epochs of warm-up,
divided by 10 every 20 of 70 epochs and every 30 of 100 (at these shares of other numbers of
epochs), the predictor's a tenth of it. With --prune_to, the second phase prunes predictor and
classifier; the first is as without it, so that runs can share it.
"""

import pathlib

import keras
from absl import flags

from tf_adaptive.cross_entropy import check_label_smoothing
from tf_adaptive.errors import (
    InputError,
    check_above_0,
    check_at_least_0,
    check_choice,
    check_whole,
)
from tf_adaptive.models.drnet import DRNet
from tf_adaptive.programs import program
from tf_adaptive.routing.branches import check_resolutions
from tf_adaptive.routing.costs import branch_costs
from tf_adaptive.routing.losses import check_target_gflops
from tf_adaptive.runs.directory import finish_run, load_finished_run, open_run
from tf_adaptive.runs.evaluate import report_run
from tf_adaptive.training.drnet_phases import (
    classifier_step,
    load_classifier_phase,
    routing_step,
    take_classifier,
)
from tf_adaptive.training.loop import check_training, train
from tf_adaptive.training.progress import TerminalProgress

from .flags import pruning as pruning_flags
from .flags import strategy as strategy_flags
from .flags import training as training_flags
from .flags.resumed import MAY_DIFFER

flags.adopt_module_key_flags(training_flags)
flags.adopt_module_key_flags(pruning_flags)
flags.adopt_module_key_flags(strategy_flags)
_PRESET = flags.DEFINE_string("preset", None, "configuration, such as drnet_resnet50")
_RESOLUTIONS = flags.DEFINE_list("resolutions", None, "candidates, falling; the preset's if unset")
_DATASET = flags.DEFINE_string(
    "dataset", None, "fashion_mnist_scaled, imagenet2012, another TFDS name, or folder:PATH"
)
_RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of the run")
_STAGE_1_FROM = flags.DEFINE_string(
    "stage_1_from", None, "another run whose finished stage 1 to start from"
)
_TARGET_GFLOPS = flags.DEFINE_float(
    "target_gflops", None, "mean cost of the classifier to aim at, in 10^9 multiply-accumulates"
)
_FLOPS_WEIGHT = flags.DEFINE_float("flops_weight", 0.2, "weight of the FLOPs loss")
_TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "temperature of the choice, at first")
_FINAL_TEMPERATURE = flags.DEFINE_float(
    "final_temperature", None, "temperature of the choice at the end; that at first if unset"
)
_DENSE = flags.DEFINE_bool(
    "dense",
    False,
    "run every image at every resolution in every batch of stage 2, as published trainings do, and "
    "not in one of four, the ones that the predictor learns from",
)
_SHARED_BATCH_NORM = flags.DEFINE_bool(
    "shared_batch_norm", False, "one batch norm for all resolutions, the paper's control (table 1)"
)
_PREDICTOR_FACTOR = flags.DEFINE_float(
    "predictor_learning_rate_factor", 0.1, "the predictor's rate beside the classifier's"
)
_STAGE_1_EPOCHS = flags.DEFINE_integer("stage_1_epochs", 70, "passes over the images in stage 1")
_STAGE_2_EPOCHS = flags.DEFINE_integer("stage_2_epochs", 100, "passes over the images in stage 2")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "images in a batch")
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 0.1, "highest learning rate of stage 1")
_STAGE_2_LEARNING_RATE = flags.DEFINE_float(
    "stage_2_learning_rate", None, "highest learning rate of stage 2; that of stage 1 if unset"
)
_STAGE_1_DROP_EPOCHS = flags.DEFINE_list(
    "stage_1_drop_epochs", None, "epochs after which multi_step divides by 10; the paper's if unset"
)
_STAGE_2_DROP_EPOCHS = flags.DEFINE_list(
    "stage_2_drop_epochs", None, "epochs after which multi_step divides by 10; the paper's if unset"
)
_WARMUP_EPOCHS = flags.DEFINE_float("warmup_epochs", 3.0, "epochs of linear warm-up of each stage")
_NESTEROV = flags.DEFINE_bool("nesterov", False, "Nesterov's form of momentum")
_SEED = flags.DEFINE_integer("seed", 0, "seed of weights, choices, order and augmentation")
flags.mark_flags_as_required(["preset", "dataset", "run_dir"])

# The run that the first phase is taken from may be elsewhere too.
_MAY_DIFFER = (*MAY_DIFFER, "stage_1_from")


def main():
    resolutions = _check_flags()
    dtype = training_flags.layers_dtype()
    run_dir = pathlib.Path(_RUN_DIR.value)
    devices = strategy_flags.chosen()
    if strategy_flags.is_done(devices, run_dir, resume=training_flags.RESUME.value):
        return
    dataset = _load_images(resolutions)
    keras.utils.set_random_seed(_SEED.value)
    with devices.scope():
        model = _build(dataset, resolutions, dtype)
    costs = branch_costs(model)
    _check_target(costs)
    _check_trainings(dataset)
    with devices.scope():
        stage_1, stage_2 = _steps(model, costs, dataset)

    config = program.flag_values() | dataset.description()
    classifier = None
    if _STAGE_1_FROM.value:
        classifier = load_classifier_phase(
            _STAGE_1_FROM.value, resolutions=resolutions, config=config
        )
    if devices.is_chief:
        open_run(run_dir, config, resume=training_flags.RESUME.value, may_differ=_MAY_DIFFER)
    if classifier is None:
        classifier = _trained_classifier(
            stage_1, model, dataset, run_dir / "stage_1", config, devices
        )
    take_classifier(model, classifier)
    print("Stage 2: the predictor, and each image at its own resolution", flush=True)
    _train(stage_2, dataset, run_dir / "stage_2", _STAGE_2_EPOCHS.value, config, devices)
    strategy_flags.leave_to_chief(devices)

    # The run's model is a float32 one whatever it was trained in: it is what is measured.
    trained = _build(dataset, resolutions, "float32")
    trained.set_weights([weight.numpy() for weight in model.weights])
    finish_run(run_dir, trained)
    report_run(run_dir, dataset=dataset)


def _check_flags():
    """Refuses what can be refused before data are prepared; returns the candidates."""
    check_choice("preset", _PRESET.value, DRNet.presets)
    resolutions = program.numbers(_RESOLUTIONS, int)
    if resolutions is None:
        resolutions = list(DRNet.presets[_PRESET.value]["resolutions"])
    check_resolutions(resolutions)
    check_at_least_0("flops_weight", _FLOPS_WEIGHT.value)
    check_above_0("temperature", _TEMPERATURE.value)
    check_label_smoothing(training_flags.LABEL_SMOOTHING.value)
    pruning_flags.check_flags()
    check_whole("batch_size", _BATCH_SIZE.value, least=1)
    check_whole("seed", _SEED.value, least=0, most=2**32 - 1)
    check_whole("stage_1_epochs", _STAGE_1_EPOCHS.value, least=1)
    check_whole("stage_2_epochs", _STAGE_2_EPOCHS.value, least=1)
    check_above_0("predictor_learning_rate_factor", _PREDICTOR_FACTOR.value)
    return resolutions


def _load_images(resolutions):
    """The data set, whose images must be of the largest candidate's size."""
    dataset = training_flags.data_of(_DATASET.value)
    if dataset.image_shape[0] != resolutions[0]:
        raise InputError(
            f"Images must be of the largest of `resolutions`, {resolutions[0]} pixels a side. "
            f"Received: {_DATASET.value} at {dataset.image_shape[0]}; choose other --resolutions, "
            f"or resize the images with --image_size {resolutions[0]}."
        )
    return dataset


def _check_target(costs):
    """Refuses a target that no choice of resolutions can meet."""
    if _TARGET_GFLOPS.value is None:
        raise InputError(
            f"`target_gflops` must be given, from {min(costs.branch_gflops):.4g} to "
            f"{max(costs.branch_gflops):.4g}, the cost of the cheapest and of the dearest "
            "resolution. Received: none."
        )
    check_target_gflops(costs.branch_gflops, _TARGET_GFLOPS.value)


def _check_trainings(dataset):
    """Refuses what one of the trainings would refuse, before the first."""
    for epochs in (_STAGE_1_EPOCHS.value, _STAGE_2_EPOCHS.value):
        check_training(
            dataset,
            epochs=epochs,
            batch_size=_BATCH_SIZE.value,
            seed=_SEED.value,
            checkpoint_seconds=training_flags.CHECKPOINT_SECONDS.value,
        )


def _steps(model, costs, dataset):
    """The step of each phase."""
    of_classifier, of_routing = _descents(dataset)
    return classifier_step(model, of_classifier), routing_step(
        model,
        costs,
        of_routing,
        target_gflops=_TARGET_GFLOPS.value,
        flops_weight=_FLOPS_WEIGHT.value,
        temperature=_TEMPERATURE.value,
        final_temperature=_FINAL_TEMPERATURE.value,
        predictor_learning_rate_factor=_PREDICTOR_FACTOR.value,
        dense=_DENSE.value,
        pruning=pruning_flags.pruning_of(model, steps=of_routing.steps),
    )


def _descents(dataset):
    """The `Descent` of each phase."""
    shared = {
        "batch_size": _BATCH_SIZE.value,
        "warmup_epochs": _WARMUP_EPOCHS.value,
        "nesterov": _NESTEROV.value,
    }
    highest = _STAGE_2_LEARNING_RATE.value
    return (
        training_flags.descent(
            dataset,
            learning_rate=_LEARNING_RATE.value,
            epochs=_STAGE_1_EPOCHS.value,
            drop_epochs=program.numbers(_STAGE_1_DROP_EPOCHS),
            **shared,
        ),
        training_flags.descent(
            dataset,
            learning_rate=_LEARNING_RATE.value if highest is None else highest,
            epochs=_STAGE_2_EPOCHS.value,
            drop_epochs=program.numbers(_STAGE_2_DROP_EPOCHS),
            **shared,
        ),
    )


def _build(dataset, resolutions, dtype):
    return DRNet.from_preset(
        _PRESET.value,
        dtype=dtype,
        resolutions=resolutions,
        channels=dataset.image_shape[-1],
        num_classes=dataset.num_classes,
        shared_batch_norm=_SHARED_BATCH_NORM.value,
        temperature=_TEMPERATURE.value,
        seed=_SEED.value,
    )


def _trained_classifier(step, model, dataset, directory, config, devices):
    """The network of the first phase, which is trained where it is not yet."""
    if not (directory / "model.keras").exists():
        print("Stage 1: the classifier at all resolutions", flush=True)
        _train(step, dataset, directory, _STAGE_1_EPOCHS.value, config, devices)
        if devices.is_chief:
            finish_run(directory, model)
        step.wait_for_all()
    # Also where it was just trained: a run that goes on later must not differ.
    _, trained = load_finished_run(directory)
    return trained


def _train(step, dataset, directory, epochs, config, devices):
    train(
        step,
        dataset,
        devices=devices,
        epochs=epochs,
        batch_size=_BATCH_SIZE.value,
        seed=_SEED.value,
        run_dir=directory,
        config=config,
        resume=(directory / "config.json").exists(),
        may_differ=_MAY_DIFFER,
        checkpoint_seconds=training_flags.CHECKPOINT_SECONDS.value,
        progress=TerminalProgress(),
    )


if __name__ == "__main__":
    program.run(main, needs=("data", "report", "programs"))
