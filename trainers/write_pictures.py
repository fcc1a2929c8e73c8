"""Writes test images of a run's data set as PNG files, to try its network on once it is deployed.

python -m trainers.write_pictures --run_dir runs/digits --output pictures
"""

import pathlib
import re

import numpy as np
import tensorflow as tf
from absl import flags

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.files import replaced_whole
from tf_adaptive.programs import program
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import read_config

_RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of a run", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "folder to write them into", required=True)
_COUNT = flags.DEFINE_integer("count", 10, "how many, spread over the test set")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets")


def main():
    dataset = load_run_dataset(read_config(_RUN_DIR.value), data_dir=_DATA_DIR.value)
    size = dataset.sizes["test"]
    check_whole("count", _COUNT.value, least=1, most=size)
    step = size // _COUNT.value
    positions = np.arange(_COUNT.value) * step
    labels = dataset.batches("test", 1).shard(step, 0).take(_COUNT.value)
    output = pathlib.Path(_OUTPUT.value)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"`output` must be a folder to write in. Received: {output} ({error.strerror})."
        ) from error
    for position, picture, (_, label) in zip(
        positions, dataset.pictures("test", positions), labels.as_numpy_iterator(), strict=True
    ):
        class_name = re.sub(r"[^\w.-]+", "_", dataset.class_names[label.item()])
        with replaced_whole(output / f"{position:05}_{class_name}.png") as temporary:
            temporary.write_bytes(tf.io.encode_png(picture).numpy())
    print(f"{_COUNT.value} pictures: {output}")


if __name__ == "__main__":
    program.run(main, needs=("data",))
