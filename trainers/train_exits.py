"""Exits on a classifier that people have: a network that leaves early, of any functional one.

    python -m trainers.train_exits --backbone runs/mobilenet_v2 --exits 4 --mode frozen \\
        --dataset fashion_mnist --image_size 32 --run_dir runs/mobilenet_v2_exits

--backbone is as for trainers.train_static. The last exit is the backbone's own; the others stand at
the places nearest to equal shares of its MACs, or at named layers (`tf_adaptive.exit_places` lists
them). --mode is one of

    frozen               the backbone stays as it is, to the bit. It is run once over the images,
                         and the exits learn on its features, from the labels and from the last
                         exit (--alpha 0: from the last exit alone). 30 epochs if unset.
    joint                all exits and the backbone are trained together.
    backbone_then_joint  the backbone first, then all together ("mixed" in Kubaty et al. 2024,
                         arXiv 2407.14320).
"""

import pathlib

import keras
import numpy as np
from absl import flags

from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.exits.attach import attach_exits
from tf_adaptive.exits.costs import profile
from tf_adaptive.exits.frozen import split_frozen
from tf_adaptive.exits.heads import HEADS
from tf_adaptive.exits.losses import check_distillation, check_exit_weights
from tf_adaptive.exits.stages import split_stages
from tf_adaptive.graph.precision import copy_weights, with_dtype
from tf_adaptive.programs import program
from tf_adaptive.programs.progress_bar import with_bar
from tf_adaptive.runs.directory import (
    check_open_run,
    finish_run,
    load_finished_run,
    open_run,
)
from tf_adaptive.runs.evaluate import report_run
from tf_adaptive.training.multi_exit_phases import (
    FEATURE_BATCH_SIZE,
    frozen_features,
    phase_1_step,
    phase_2_step,
)
from tf_adaptive.training.recipes import recipe_for_images
from tf_adaptive.training.strategy import check_batch_size

from .flags import backbone as backbone_flags
from .flags import network_training
from .flags import strategy as strategy_flags
from .flags import training as training_flags
from .flags.resumed import MAY_DIFFER

flags.adopt_module_key_flags(backbone_flags)
flags.adopt_module_key_flags(network_training)
flags.adopt_module_key_flags(training_flags)
flags.adopt_module_key_flags(strategy_flags)
_MODES = ("frozen", "joint", "backbone_then_joint")
_EXITS = flags.DEFINE_string(
    "exits", "4", "how many exits, the backbone's own included, or names of layers with commas"
)
_HEAD = flags.DEFINE_string("head", "linear", "what an exit is: linear, or conv for early maps")
_MODE = flags.DEFINE_string("mode", "frozen", f"what is trained: {', '.join(_MODES)}")
_EXIT_WEIGHTS = flags.DEFINE_list(
    "exit_weights", None, "joint: weight of each exit's loss; 1 if unset"
)
_BACKBONE_EPOCHS = flags.DEFINE_integer(
    "backbone_epochs", None, "backbone_then_joint: passes for the backbone alone; --epochs if unset"
)
_ALPHA = flags.DEFINE_float(
    "alpha", 0.5, "frozen: share of the labels beside the last exit's answers, in [0, 1]"
)
_TEMPERATURE = flags.DEFINE_float("temperature", 3.0, "frozen: temperature of the distillation")
_AUGMENTED_PASSES = flags.DEFINE_integer(
    "augmented_passes", 1, "frozen: passes over augmented images; 0 for the images as they are"
)
_FROZEN_EPOCHS = 30


def main():
    dtype = training_flags.layers_dtype()
    _check_flags()
    run_dir = network_training.RUN_DIR.value
    devices = strategy_flags.chosen()
    if strategy_flags.is_done(devices, run_dir, resume=training_flags.RESUME.value):
        return
    if devices.is_chief:
        check_open_run(run_dir, resume=training_flags.RESUME.value)
    keras.utils.set_random_seed(network_training.SEED.value)
    with devices.scope():
        network, dataset = backbone_flags.load_backbone(network_training.DATASET.value)
        model = attach_exits(network, head=_HEAD.value, **_places())
    exit_weights = check_exit_weights(program.numbers(_EXIT_WEIGHTS), len(model.outputs))
    if _MODE.value == "frozen":
        program.fill_unset(epochs=_FROZEN_EPOCHS)
    drop_shares = network_training.fill_recipe(recipe_for_images(dataset.image_shape))
    program.fill_unset(backbone_epochs=network_training.EPOCHS.value)
    check_batch_size(network_training.BATCH_SIZE.value, devices.replicas)
    training = {
        "dataset": dataset,
        "drop_shares": drop_shares,
        "devices": devices,
        "config": program.flag_values() | dataset.description(),
    }
    if _MODE.value == "frozen":
        _train_frozen(model, **training)
    elif _MODE.value == "joint":
        _train_joint(model, run_dir, dtype, exit_weights, **training)
    else:
        _train_backbone_first(network, model, dtype, exit_weights, **training)
    strategy_flags.leave_to_chief(devices)
    finish_run(run_dir, model)
    report_run(run_dir, dataset=dataset)


def _check_flags():
    """Refuses what can be refused before data are prepared."""
    network_training.check_flags()
    check_choice("mode", _MODE.value, _MODES)
    check_choice("head", _HEAD.value, HEADS)
    if _MODE.value == "frozen":
        check_distillation(_ALPHA.value, _TEMPERATURE.value)
        check_whole("augmented_passes", _AUGMENTED_PASSES.value, least=0)
        if backbone_flags.WEIGHTS.value == "none":
            raise InputError(
                "`weights` must be trained ones where the backbone is frozen: train it with "
                "trainers.train_static, or take --mode joint. Received: --weights none."
            )
        for flag in (training_flags.PRECISION, _EXIT_WEIGHTS):
            if flag.value not in (None, "float32"):
                raise InputError(
                    f"`{flag.name}` must be left out with --mode frozen, where only the exits are "
                    f"trained, each on its own. Received: {flag.name}={flag.value}."
                )
    if _MODE.value == "backbone_then_joint" and _BACKBONE_EPOCHS.value is not None:
        check_whole("backbone_epochs", _BACKBONE_EPOCHS.value, least=1)


def _places():
    """What --exits asks of `attach_exits`."""
    text = _EXITS.value
    if text.lstrip("-").isdigit():
        check_whole("exits", int(text), least=2)
        return {"num_exits": int(text)}
    return {"at": [name.strip() for name in text.split(",") if name.strip()]}


def _print_exits(model):
    costs = profile(model)
    stages = split_stages(model)
    print(f"{'exit':>4} {'M MACs':>9} {'kB handed on':>13}  reads")
    for cost, stage in zip(costs, stages, strict=True):
        reads = ", ".join(stage.state) or "the backbone's own"
        print(f"{cost.exit:>4} {cost.macs / 1e6:>9.2f} {cost.state_bytes / 1e3:>13.1f}  {reads}")


def _train_frozen(model, *, dataset, drop_shares, devices, config):
    run_dir = network_training.RUN_DIR.value
    with devices.scope():
        backbone, heads, teacher = split_frozen(model)

    features = frozen_features(
        backbone,
        dataset,
        augmented_passes=_AUGMENTED_PASSES.value,
        seed=network_training.SEED.value,
        folder=_existing_folder(run_dir),
        shown=with_bar,
    )
    _check_knows_classes(features, dataset)
    _print_exits(model)
    epochs = network_training.EPOCHS.value
    with devices.scope():
        step = phase_2_step(
            heads,
            teacher if _ALPHA.value < 1 else None,
            network_training.descent(dataset, drop_shares, epochs=epochs),
            alpha=_ALPHA.value,
            temperature=_TEMPERATURE.value,
        )
    network_training.train_in(
        run_dir,
        step,
        features,
        devices=devices,
        epochs=epochs,
        config=config,
        resume=training_flags.RESUME.value,
    )


def _check_knows_classes(features, dataset):
    """Refuses a backbone whose answers are no better than naming the commonest class."""
    right = total = 0
    counts = np.zeros(dataset.num_classes, int)
    for batch, labels in features.batches("validation", FEATURE_BATCH_SIZE):
        logits = batch.numpy()[:, -dataset.num_classes :]
        right += np.count_nonzero(logits.argmax(axis=-1) == labels.numpy())
        total += len(labels)
        counts += np.bincount(labels.numpy(), minlength=dataset.num_classes)
    if right <= counts.max():
        raise InputError(
            "A frozen backbone must tell the data set's classes apart: train it with "
            "trainers.train_static first, or take --mode joint. Received: one that is right for "
            f"{right} of {total} validation images, {counts.max()} of which are of one class."
        )


def _train_joint(
    model,
    directory,
    dtype,
    exit_weights,
    *,
    dataset,
    drop_shares,
    devices,
    config,
    resume=None,
):
    _print_exits(model)
    epochs = network_training.EPOCHS.value
    with devices.scope():
        trained = model if dtype is None else with_dtype(model, dtype)
        step = phase_1_step(
            trained,
            network_training.descent(dataset, drop_shares, epochs=epochs),
            exit_weights=exit_weights,
        )
    network_training.train_in(
        directory,
        step,
        dataset,
        devices=devices,
        epochs=epochs,
        config=config,
        resume=training_flags.RESUME.value if resume is None else resume,
    )
    # The run's model is a float32 one whatever it was trained in: its exits are what is measured.
    if trained is not model:
        copy_weights(trained, model)


def _train_backbone_first(
    network, model, dtype, exit_weights, *, dataset, drop_shares, devices, config
):
    run_dir = pathlib.Path(network_training.RUN_DIR.value)
    if devices.is_chief:
        open_run(run_dir, config, resume=training_flags.RESUME.value, may_differ=MAY_DIFFER)
    first, second = run_dir / "backbone", run_dir / "joint"
    if not (first / "model.keras").exists():
        print("The backbone alone", flush=True)
        epochs = _BACKBONE_EPOCHS.value
        with devices.scope():
            trained = network if dtype is None else with_dtype(network, dtype)
            descent = network_training.descent(dataset, drop_shares, epochs=epochs)
            step = phase_1_step(trained, descent)
        network_training.train_in(
            first,
            step,
            dataset,
            devices=devices,
            epochs=epochs,
            config=config,
            resume=(first / "config.json").exists(),
        )
        if devices.is_chief:
            finish_run(first, trained)
        step.wait_for_all()
    # Also where it was just trained: a run that goes on later must not differ.
    _, trained = load_finished_run(first)
    copy_weights(trained, network)
    print("All exits together", flush=True)
    _train_joint(
        model,
        second,
        dtype,
        exit_weights,
        dataset=dataset,
        drop_shares=drop_shares,
        devices=devices,
        config=config,
        resume=(second / "config.json").exists(),
    )


def _existing_folder(path):
    """The folder of a path, or the nearest one above it that is there."""
    folders = pathlib.Path(path).absolute().parents
    return next(folder for folder in folders if folder.is_dir())


if __name__ == "__main__":
    program.run(main, needs=("data", "report", "programs"))
