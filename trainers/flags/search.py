"""Flags of a search that both its tuners read, and how its ranges are given."""

from absl import flags

from tf_adaptive.errors import InputError
from tf_adaptive.programs import program
from tf_adaptive.tuning.space import Range

from . import network as network_flags
from . import training as training_flags

DATASET = flags.DEFINE_string("dataset", None, "as of the training program", required=True)
RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of the search", required=True)
SEED = flags.DEFINE_integer("seed", 0, "seed of the proposals and of every training")
EPOCHS = flags.DEFINE_integer(
    "epochs", None, "passes over the images of a whole trial; the paper's if unset"
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "images in a batch; the paper's if unset")
LEARNING_RATE = flags.DEFINE_float("learning_rate", 0.1, "highest learning rate")
WARMUP_EPOCHS = flags.DEFINE_float(
    "warmup_epochs", None, "epochs of linear warm-up; the training program's if unset"
)
NESTEROV = flags.DEFINE_bool(
    "nesterov", None, "Nesterov's form of momentum; as in the paper if unset"
)


def range_of(flag, name, *, default, log=True):
    """The `Range` of hyperparameter `name` that a list flag gives; one number fixes it.

    Raises:
        InputError: other than one number or two different ones.
    """
    ends = program.numbers(flag)
    if len(ends) not in (1, 2) or len(ends) == 2 and ends[0] == ends[1]:
        raise InputError(
            f"`{flag.name}` must be a range with two different ends, or one number for no search. "
            f"Received: --{flag.name}={','.join(flag.value)}."
        )
    return Range(name, least=ends[0], most=ends[-1], default=default, log=log)


def shared_settings(dataset, dtype, devices):
    """What a `SearchSettings` has of the flags that both tuners read, but for its `descent`.

    Args:
        dataset: `ImageDataset`.
        dtype: of `training_flags.layers_dtype`.
        devices: `Devices`.
    """
    return {
        "dataset": dataset,
        "dataset_name": DATASET.value,
        "preset": network_flags.PRESET.value,
        "dtype": dtype,
        "devices": devices,
        "batch_size": BATCH_SIZE.value,
        "seed": SEED.value,
        "checkpoint_seconds": training_flags.CHECKPOINT_SECONDS.value,
        "config": program.flag_values() | dataset.description(),
        "shared_flags": _shared_flags(),
    }


def shared_descent(dataset, *, epochs, learning_rate=None):
    """The `Descent` of a training of either tuner; --learning_rate's where none is given."""
    return training_flags.descent(
        dataset,
        batch_size=BATCH_SIZE.value,
        learning_rate=LEARNING_RATE.value if learning_rate is None else learning_rate,
        epochs=epochs,
        warmup_epochs=WARMUP_EPOCHS.value,
        nesterov=NESTEROV.value,
    )


def _shared_flags():
    """The flags that a training program has in common with the search, with the values here."""
    shared = (
        *training_flags.OF_DATA,
        *(training_flags.PRECISION, SEED, BATCH_SIZE, training_flags.SCHEDULE, WARMUP_EPOCHS),
        *(training_flags.MOMENTUM, NESTEROV, training_flags.WEIGHT_DECAY),
        training_flags.LABEL_SMOOTHING,
    )
    return {flag.name: flag.value for flag in shared}
