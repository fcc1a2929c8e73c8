"""Trains a network with several exits and reports what each exit and each budget reaches.

    python -m trainers.train_multi_exit --dataset digits --run_dir runs/digits --epochs 20

The defaults are the paper's of the network: SGD with momentum 0.9 (MSDNet: Nesterov's), weight
decay 1e-4, rate 0.1. CIFAR's presets take 300 epochs at batch 64 and divide the rate by 10 after a
half and three quarters of them, ImageNet's 90 at batch 256, after one and two thirds.
"""

import keras
from absl import flags

from tf_adaptive.errors import check_choice, check_whole
from tf_adaptive.gradient_equilibrium import FORMS, with_gradient_equilibrium
from tf_adaptive.losses import check_exit_weights, check_label_smoothing
from tf_adaptive.training.loop import train
from tf_adaptive.training.multi_exit_phases import phase_1_step
from tf_adaptive.training.progress import TerminalProgress
from tf_adaptive.training.run_directory import finish_run, load_finished_run
from trainers import networks, program, pruning_flags, training_flags
from trainers.reporting import report_run

flags.adopt_module_key_flags(networks)
flags.adopt_module_key_flags(training_flags)
flags.adopt_module_key_flags(pruning_flags)
_DATASET = flags.DEFINE_string(
    "dataset",
    "digits",
    "digits, fashion_mnist, fashion_mnist_scaled, cifar10, cifar100, imagenet2012, another TFDS "
    "name, or folder:PATH",
)
_RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of the run", required=True)
_WEIGHTS_FROM = flags.DEFINE_string(
    "weights_from", None, "finished run of the same network whose weights to start from"
)
_EPOCHS = flags.DEFINE_integer(
    "epochs", None, "passes over the training images; the paper's if unset"
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "images in a batch; the paper's if unset")
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 0.1, "highest learning rate")
_DROP_EPOCHS = flags.DEFINE_list(
    "drop_epochs", None, "epochs after which multi_step divides by 10; the paper's if unset"
)
_WARMUP_EPOCHS = flags.DEFINE_float("warmup_epochs", 0.0, "epochs of linear warm-up")
_NESTEROV = flags.DEFINE_bool(
    "nesterov", None, "Nesterov's form of momentum; as in the paper if unset"
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
_SEED = flags.DEFINE_integer("seed", 0, "seed of weights, order and augmentation")

# What may change when a run continues: where things are, and how often they are written.
_MAY_DIFFER = ("run_dir", "data_dir", "resume", "checkpoint_seconds")


def main():
    dtype = training_flags.layers_dtype()
    # A misspelt network or preset is refused before data are prepared for nothing.
    networks.fill_preset()
    recipe = networks.published_recipe(networks.MODEL.value, networks.PRESET.value)
    drop_shares = recipe.pop("drop_shares")
    program.fill_unset(**recipe)
    check_choice("gradient_equilibrium_form", _GRADIENT_EQUILIBRIUM_FORM.value, FORMS)
    check_label_smoothing(training_flags.LABEL_SMOOTHING.value)
    pruning_flags.check_flags()
    check_whole("batch_size", _BATCH_SIZE.value, least=1)
    check_whole("seed", _SEED.value, least=0, most=2**32 - 1)
    dataset = training_flags.data_of(_DATASET.value)
    keras.utils.set_random_seed(_SEED.value)
    model = _build(dataset, dtype=dtype)
    if _WEIGHTS_FROM.value:
        _, other = load_finished_run(_WEIGHTS_FROM.value)
        networks.check_same_network(other, model, _WEIGHTS_FROM.value)
        model.set_weights(other.get_weights())
    if _GRADIENT_EQUILIBRIUM.value:
        model = with_gradient_equilibrium(model, form=_GRADIENT_EQUILIBRIUM_FORM.value)
    exit_weights = check_exit_weights(program.numbers(_EXIT_WEIGHTS), len(model.outputs))
    drop_epochs = program.numbers(_DROP_EPOCHS)
    if drop_epochs is None and training_flags.SCHEDULE.value == "multi_step":
        drop_epochs = [share * _EPOCHS.value for share in drop_shares]
    descent = training_flags.descent(
        dataset,
        batch_size=_BATCH_SIZE.value,
        warmup_epochs=_WARMUP_EPOCHS.value,
        nesterov=_NESTEROV.value,
    )
    step = phase_1_step(
        model,
        exit_weights=exit_weights,
        learning_rate=_LEARNING_RATE.value,
        epochs=_EPOCHS.value,
        drop_epochs=drop_epochs,
        pruning=pruning_flags.pruning_of(model, steps=_EPOCHS.value * descent["steps_per_epoch"]),
        **descent,
    )
    train(
        step,
        dataset,
        epochs=_EPOCHS.value,
        batch_size=_BATCH_SIZE.value,
        seed=_SEED.value,
        run_dir=_RUN_DIR.value,
        config=program.flag_values() | dataset.description(),
        resume=training_flags.RESUME.value,
        may_differ=_MAY_DIFFER,
        checkpoint_seconds=training_flags.CHECKPOINT_SECONDS.value,
        progress=TerminalProgress(),
    )
    # The run's model is a float32 one whatever it was trained in: its exits are what is measured.
    trained = _build(dataset, dtype="float32")
    trained.set_weights(model.get_weights())
    finish_run(_RUN_DIR.value, trained)
    report_run(_RUN_DIR.value)


def _build(dataset, dtype):
    return networks.build_network(
        networks.MODEL.value,
        networks.PRESET.value,
        input_shape=dataset.image_shape,
        num_classes=dataset.num_classes,
        dtype=dtype,
    )


if __name__ == "__main__":
    program.run(main)
