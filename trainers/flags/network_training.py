"""What the trainings of a whole network on all its exits share: flags, and the training itself."""

from absl import flags

from tf_adaptive.cross_entropy import check_label_smoothing
from tf_adaptive.errors import check_whole
from tf_adaptive.programs import program
from tf_adaptive.training.loop import train
from tf_adaptive.training.progress import TerminalProgress

from . import training as training_flags
from .resumed import MAY_DIFFER

DATASET = flags.DEFINE_string(
    "dataset",
    "digits",
    "digits, fashion_mnist, fashion_mnist_scaled, cifar10, cifar100, imagenet2012, another TFDS "
    "name, or folder:PATH",
)
RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of the run", required=True)
EPOCHS = flags.DEFINE_integer(
    "epochs", None, "passes over the training images; the published recipe's if unset"
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "images in a batch; the recipe's if unset")
LEARNING_RATE = flags.DEFINE_float("learning_rate", 0.1, "highest learning rate")
_DROP_EPOCHS = flags.DEFINE_list(
    "drop_epochs", None, "epochs after which multi_step divides by 10; the recipe's if unset"
)
_WARMUP_EPOCHS = flags.DEFINE_float("warmup_epochs", 0.0, "epochs of linear warm-up")
NESTEROV = flags.DEFINE_bool(
    "nesterov", None, "Nesterov's form of momentum; as in the recipe if unset"
)
SEED = flags.DEFINE_integer("seed", 0, "seed of weights, order and augmentation")


def check_flags():
    """Refuses what can be refused before data are prepared."""
    check_label_smoothing(training_flags.LABEL_SMOOTHING.value)
    check_whole("seed", SEED.value, least=0, most=2**32 - 1)


def fill_recipe(recipe):
    """Gives flags that are unset the values of a recipe.

    Args:
        recipe: what `published_recipe` or `recipe_for_images` gives.

    Returns:
        The shares of the epochs after which the rate falls.

    Raises:
        InputError: a batch size below 1.
    """
    recipe = dict(recipe)
    drop_shares = recipe.pop("drop_shares")
    program.fill_unset(**recipe)
    check_whole("batch_size", BATCH_SIZE.value, least=1)
    return drop_shares


def descent(dataset, drop_shares, *, epochs):
    """The `Descent` over so many epochs that the flags ask for.

    Args:
        dataset: `ImageDataset`.
        drop_shares: of `fill_recipe`.
        epochs: passes over the training images.
    """
    wanted = training_flags.descent(
        dataset,
        batch_size=BATCH_SIZE.value,
        learning_rate=LEARNING_RATE.value,
        epochs=epochs,
        warmup_epochs=_WARMUP_EPOCHS.value,
        nesterov=NESTEROV.value,
        drop_epochs=program.numbers(_DROP_EPOCHS),
    )
    return wanted.with_drop_shares(drop_shares)


def train_in(directory, step, data, *, devices, epochs, config, resume):
    """Trains in a directory as the flags say, see `train`.

    Args:
        directory: of the run, or of a phase of it.
        devices: `Devices`.
        step, data, epochs, config, resume: see `train`.
    """
    train(
        step,
        data,
        devices=devices,
        epochs=epochs,
        batch_size=BATCH_SIZE.value,
        seed=SEED.value,
        run_dir=directory,
        config=config,
        resume=resume,
        may_differ=MAY_DIFFER,
        checkpoint_seconds=training_flags.CHECKPOINT_SECONDS.value,
        progress=TerminalProgress(),
    )
