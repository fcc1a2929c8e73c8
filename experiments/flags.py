"""Flags that all experiments read."""

import pathlib

from absl import flags

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.programs import program

from .cells import trained

_RUNS_DIR = flags.DEFINE_string(
    "runs_dir", None, "folder of all runs, tables and figures", required=True
)
DATASET = flags.DEFINE_string("dataset", "cifar100", "as in trainers.train_multi_exit")
DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets")
IMAGE_SIZE = flags.DEFINE_integer("image_size", None, "pixels a side; the data set's own if unset")
TRAIN_SIZE = flags.DEFINE_integer("train_size", None, "training images to use; all if unset")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds, a run of every row for each")


def of_data():
    """The flags that name the data, as training programs take them."""
    return {
        **{"dataset": DATASET.value, "image_size": IMAGE_SIZE.value},
        "train_size": TRAIN_SIZE.value,
    }


def trained_cell(name, program, flags, *, output="run_dir"):
    """The directory of a cell's finished run in the folder of all runs; see `trained`."""
    return trained(runs_dir(), name, program, flags, data_dir=DATA_DIR.value, output=output)


def runs_dir():
    """The folder of all runs."""
    return pathlib.Path(_RUNS_DIR.value)


def seeds():
    """The seeds of every row.

    Raises:
        InputError: none, one twice, or one that is no seed.
    """
    seeds = program.numbers(_SEEDS, int)
    for seed in seeds:
        check_whole("seeds", seed, least=0)
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(
            f"`seeds` must be different ones, one or more. Received: {','.join(_SEEDS.value)}."
        )
    return seeds
