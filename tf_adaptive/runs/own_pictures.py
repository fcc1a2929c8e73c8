"""Pictures of one's own to choose thresholds on."""

import os
import pathlib

import numpy as np
import tensorflow as tf

from tf_adaptive.data.preprocessing import Preprocessing
from tf_adaptive.errors import InputError, plain_reason
from tf_adaptive.pictures import PICTURE_SUFFIXES
from tf_adaptive.programs.progress_bar import with_bar

_PREFIX = "folder:"


def own_pictures(where, dataset, batch_size):
    """Pictures in a folder, as the network takes them.

    Folders in it are classes, by the names of the data set's; a folder without any holds pictures
    without labels.

    Args:
        where: "folder:PATH".
        dataset: `ImageDataset` that the network was trained on.
        batch_size: pictures in a batch.

    Returns:
        `(batches, labelled, words)`: batches of `(images, labels)`, whether the labels say
        anything, and what the pictures are.

    Raises:
        InputError: no such folder, one without pictures, classes that the data set has not; once a
            batch is read, a file that is no picture.
    """
    path = pathlib.Path(where.removeprefix(_PREFIX)).expanduser()
    if not where.startswith(_PREFIX) or not path.is_dir():
        raise InputError(
            f"`calibrate_on` must be folder:PATH with a folder. Received: calibrate_on={where!r}."
        )
    folders = sorted(child for child in path.iterdir() if child.is_dir() and child.name[0] != ".")
    numbers = {name: number for number, name in enumerate(dataset.class_names)}
    unknown = [folder.name for folder in folders if folder.name not in numbers]
    if unknown:
        raise InputError(
            "Folders in `calibrate_on` must be classes of the data set, "
            f"{', '.join(dataset.class_names)}. Received: {unknown[0]!r}."
        )
    files, labels = [], []
    for folder in folders or [path]:
        found = sorted(
            entry.path
            for entry in os.scandir(folder)
            if entry.name.lower().endswith(PICTURE_SUFFIXES) and entry.name[0] != "."
        )
        files += found
        labels += [numbers.get(folder.name, 0) if folders else 0] * len(found)
    if not files:
        raise InputError(
            f"`calibrate_on` must hold pictures ({', '.join(PICTURE_SUFFIXES)}). "
            f"Received: {path} without any."
        )
    batches = _batches(files, np.array(labels), dataset, batch_size)
    shown = with_bar(batches, len(files), batch_size, "own images")
    return shown, bool(folders), f"{len(files):,} pictures of {path.name}"


def _batches(files, labels, dataset, batch_size):
    preprocessing = Preprocessing.of(dataset.description())
    ready = tf.function(
        preprocessing.encoded,
        input_signature=[tf.TensorSpec((None,), tf.string)],
        autograph=False,
    )
    for first in range(0, len(files), batch_size):
        chosen = files[first : first + batch_size]
        contents = [pathlib.Path(file).read_bytes() for file in chosen]
        try:
            images = ready(tf.constant(contents))
        except tf.errors.InvalidArgumentError as error:
            raise InputError(
                "The pictures of `calibrate_on` must be whole files. "
                f"Received: {_first_unreadable(ready, chosen)} "
                f"({plain_reason(error.message).rstrip('.')})."
            ) from error
        yield images, labels[first : first + batch_size]


def _first_unreadable(ready, files):
    """The first of files that cannot be read."""
    for file in files:
        try:
            ready(tf.constant([pathlib.Path(file).read_bytes()]))
        except tf.errors.InvalidArgumentError:
            return file
    return files[0]
