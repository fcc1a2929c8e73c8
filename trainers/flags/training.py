"""Flags that several training programs share, data and optimizer alike.

Programs adopt them with `flags.adopt_module_key_flags`. Those that differ in a default or in what
they are about are each program's own.
"""

import tensorflow as tf
from absl import flags

from tf_adaptive.data import load_dataset
from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.pictures import AS_SEEN
from tf_adaptive.processor import multiplies_bfloat16
from tf_adaptive.training.descent import Descent

DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets")
IMAGE_SIZE = flags.DEFINE_integer("image_size", None, "pixels a side; the data set's own if unset")
TRAIN_SIZE = flags.DEFINE_integer("train_size", None, "training images to use; all if unset")
VALIDATION_SIZE = flags.DEFINE_integer(
    "validation_size", None, "images held out of training to validate with"
)
CALIBRATION_SIZE = flags.DEFINE_integer(
    "calibration_size",
    None,
    "images held out of training to choose thresholds on; as many as for validation if unset",
)
EVALUATION_SPLIT = flags.DEFINE_string(
    "evaluation_split", None, "split of a TFDS set to test on; one with labels if unset"
)
PICTURE_READING = flags.DEFINE_string(
    "picture_reading",
    AS_SEEN,
    "as_seen: turned as the camera was held, white where seen through; or as_stored",
)
# What `load_dataset` takes beside a data set's name, by its arguments' names.
OF_DATA = (
    *(DATA_DIR, IMAGE_SIZE, TRAIN_SIZE, VALIDATION_SIZE, CALIBRATION_SIZE),
    *(EVALUATION_SPLIT, PICTURE_READING),
)
RESUME = flags.DEFINE_bool("resume", False, "continue what was interrupted in --run_dir")
SCHEDULE = flags.DEFINE_string("schedule", "multi_step", "multi_step or cosine")
MOMENTUM = flags.DEFINE_float("momentum", 0.9, "momentum of SGD")
WEIGHT_DECAY = flags.DEFINE_float("weight_decay", 1e-4, "L2 on all weights, as in the papers")
LABEL_SMOOTHING = flags.DEFINE_float("label_smoothing", 0.0, "label smoothing, in [0, 1)")
PRECISION = flags.DEFINE_string(
    "precision", "float32", "arithmetic: float32, bfloat16, or float16 with a scaled loss"
)
_PRECISION_ANYWAY = flags.DEFINE_bool(
    "precision_anyway", False, "train in --precision bfloat16 where that is slower than float32"
)
CHECKPOINT_SECONDS = flags.DEFINE_float(
    "checkpoint_seconds", 300.0, "time between checkpoints within an epoch"
)


def data_of(dataset):
    """Loads the data set of that name as the flags want it.

    Raises:
        InputError: see `tf_adaptive.data.load_dataset`.
    """
    return load_dataset(dataset, **{flag.name: flag.value for flag in OF_DATA})


def descent(
    dataset,
    *,
    batch_size,
    learning_rate,
    epochs,
    warmup_epochs,
    nesterov,
    drop_epochs=None,
):
    """The `Descent` over so many epochs that the flags ask for.

    Args:
        dataset: `ImageDataset`.
        batch_size, learning_rate, epochs, warmup_epochs, nesterov, drop_epochs: of the program's
            own flags.
    """
    return Descent(
        schedule=SCHEDULE.value,
        learning_rate=learning_rate,
        epochs=epochs,
        steps_per_epoch=dataset.steps_per_epoch(batch_size),
        drop_epochs=drop_epochs,
        warmup_epochs=warmup_epochs,
        momentum=MOMENTUM.value,
        nesterov=nesterov,
        weight_decay=WEIGHT_DECAY.value,
        label_smoothing=LABEL_SMOOTHING.value,
    )


def layers_dtype():
    """The dtype policy of layers that --precision asks for, None for the default.

    Raises:
        InputError: no such precision, or bfloat16 where it is slower.
    """
    check_choice("precision", PRECISION.value, ("float32", "bfloat16", "float16"))
    is_slower = PRECISION.value == "bfloat16" and not (
        multiplies_bfloat16() or tf.config.list_physical_devices("GPU")
    )
    if is_slower and not _PRECISION_ANYWAY.value:
        raise InputError(
            "`precision` must be float32 on a processor without AVX512_BF16 or AMX, where bfloat16 "
            "is slower: 63 ms an image were measured instead of 12.8. Received: bfloat16; "
            "--precision_anyway trains in it all the same."
        )
    return None if PRECISION.value == "float32" else f"mixed_{PRECISION.value}"
