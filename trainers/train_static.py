"""Trains a network with one exit, to compare networks with several to, or to attach exits to.

    python -m trainers.train_static --backbone keras_applications:MobileNetV2 --weights none \
        --width 0.5 --dataset fashion_mnist --image_size 32 --run_dir runs/mobilenet_v2

--backbone is a network of keras.applications, a preset of one of ours, a .keras file or a finished
run; see trainers.backbones. Data, recipes and reports are those of trainers.train_multi_exit: SGD
with Nesterov's momentum 0.9, weight decay 1e-4, rate 0.1; for images of up to 64 pixels a side 300
epochs at batch 64, the rate divided by 10 after a half and three quarters of them, for larger ones
90 at batch 256, after one and two thirds. Trained weights want a lower --learning_rate.
"""

import keras
from absl import flags

from tf_adaptive.errors import check_whole
from tf_adaptive.losses import check_label_smoothing
from tf_adaptive.precision import copy_weights, with_dtype
from tf_adaptive.training.loop import train
from tf_adaptive.training.multi_exit_phases import phase_1_step
from tf_adaptive.training.progress import TerminalProgress
from tf_adaptive.training.run_directory import finish_run
from trainers import backbones, networks, program, pruning_flags, training_flags
from trainers.reporting import report_run

flags.adopt_module_key_flags(backbones)
flags.adopt_module_key_flags(training_flags)
flags.adopt_module_key_flags(pruning_flags)
_DATASET = flags.DEFINE_string(
    "dataset",
    "digits",
    "digits, fashion_mnist, fashion_mnist_scaled, cifar10, cifar100, imagenet2012, another TFDS "
    "name, or folder:PATH",
)
_RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of the run", required=True)
_EPOCHS = flags.DEFINE_integer("epochs", None, "passes over the training images")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "images in a batch")
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 0.1, "highest learning rate")
_DROP_EPOCHS = flags.DEFINE_list(
    "drop_epochs", None, "epochs after which multi_step divides by 10; the recipe's if unset"
)
_WARMUP_EPOCHS = flags.DEFINE_float("warmup_epochs", 0.0, "epochs of linear warm-up")
_NESTEROV = flags.DEFINE_bool("nesterov", None, "Nesterov's form of momentum")
_SEED = flags.DEFINE_integer("seed", 0, "seed of weights, order and augmentation")

# What may change when a run continues: where things are, and how often they are written.
_MAY_DIFFER = ("run_dir", "data_dir", "resume", "checkpoint_seconds")


def main():
    dtype = training_flags.layers_dtype()
    check_label_smoothing(training_flags.LABEL_SMOOTHING.value)
    pruning_flags.check_flags()
    check_whole("seed", _SEED.value, least=0, most=2**32 - 1)
    keras.utils.set_random_seed(_SEED.value)
    network, dataset = backbones.load_backbone(_DATASET.value)
    recipe = networks.recipe_for_images(dataset.image_shape)
    drop_shares = recipe.pop("drop_shares")
    program.fill_unset(**recipe)
    check_whole("batch_size", _BATCH_SIZE.value, least=1)
    drop_epochs = program.numbers(_DROP_EPOCHS)
    if drop_epochs is None and training_flags.SCHEDULE.value == "multi_step":
        drop_epochs = [share * _EPOCHS.value for share in drop_shares]
    descent = training_flags.descent(
        dataset,
        batch_size=_BATCH_SIZE.value,
        warmup_epochs=_WARMUP_EPOCHS.value,
        nesterov=_NESTEROV.value,
    )
    model = network if dtype is None else with_dtype(network, dtype)
    step = phase_1_step(
        model,
        exit_weights=None,
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
    # The run's model is a float32 one whatever it was trained in: it is what is measured.
    if model is not network:
        copy_weights(model, network)
    finish_run(_RUN_DIR.value, network)
    report_run(_RUN_DIR.value)


if __name__ == "__main__":
    program.run(main)
