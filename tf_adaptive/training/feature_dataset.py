"""Features of a frozen network, as training sees images."""

import itertools
import os
import tempfile

import numpy as np
import tensorflow as tf

from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.parts import WHOLE, positions_of_part

_ROWS_AT_ONCE = 256


def collect_features(backbone, batches, *, on_disk_in=None, count=None):
    """Runs a model in inference over batches.

    Args:
        backbone: `keras.Model` from images to one tensor `(batch, features)`.
        batches: iterable of `(images, labels)`.
        on_disk_in: None to keep the features in memory, or the folder of a file without a name
            that they are kept in, which is gone with the program, however that ends.
        count: number of images in the batches, for the file.

    Returns:
        float32 `(images, features)` and int32 `(images,)`, in the batches' order.

    Raises:
        InputError: no file can be written in the folder.
    """
    run = _in_inference(backbone)
    pairs = ((run(images).numpy(), np.asarray(labels)) for images, labels in batches)
    if on_disk_in is None:
        features, labels = zip(*pairs, strict=True)
        return np.concatenate(features), np.concatenate(labels)
    stored, labels = _array_on_disk(on_disk_in, (count, backbone.output_shape[-1])), []
    for features, batch_labels in pairs:
        first = sum(map(len, labels))
        stored[first : first + len(features)] = features
        labels.append(batch_labels)
    return stored, np.concatenate(labels)


def _in_inference(backbone):
    return tf.function(
        lambda images: backbone(images, training=False),
        input_signature=[tf.TensorSpec((None, *backbone.input_shape[1:]))],
    )


def _array_on_disk(folder, shape):
    """float32, in a file that has no name."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # Taken now, so that a disk that is too small is found before the work is done.
            os.posix_fallocate(file.fileno(), 0, 4 * int(np.prod(shape)))
            return np.memmap(file, "float32", "r+", shape=shape)
    except OSError as error:
        raise InputError(
            f"Features of {4 * np.prod(shape) / 1e9:.1f} GB must fit on the disk of the run. "
            f"Received: {folder} ({error.strerror})."
        ) from error


class StreamedFeatures:
    """What `train` asks of an `ImageDataset`, on features of each epoch's own augmented images.

    None of them are kept: a frozen network computes them batch by batch, in every epoch.

    Args:
        backbone: `keras.Model` from images to one tensor `(batch, features)`.
        dataset: `ImageDataset`.
        validation: `(features, labels)`, see `collect_features`.

    Attributes:
        sizes: number of images by split: `{"train": n, "validation": n}`.
    """

    def __init__(self, backbone, dataset, validation):
        self._run = _in_inference(backbone)
        self._dataset = dataset
        self._validation = FeatureDataset([validation], validation)
        self.sizes = {split: dataset.sizes[split] for split in ("train", "validation")}

    def some_training_features(self, most):
        """Features of training images, float32 `(images, features)`, of `most` or all of them."""
        # Any order does.
        batches = self.training_batches(_ROWS_AT_ONCE, epoch=0, seed=0)
        wanted = -(-min(most, self.sizes["train"]) // _ROWS_AT_ONCE)
        features = [features.numpy() for features, _ in itertools.islice(batches, wanted)]
        return np.concatenate(features)[:most]

    def training_batches(self, batch_size, *, epoch, seed, first_batch=0, part=WHOLE):
        """Batches of the epoch's images; see `ImageDataset.training_batches`."""
        batches = self._dataset.training_batches(
            batch_size, epoch=epoch, seed=seed, first_batch=first_batch, part=part
        )
        return ((self._run(images), labels) for images, labels in batches)

    def steps_per_epoch(self, batch_size):
        """Batches in a pass; see `ImageDataset.steps_per_epoch`."""
        return self._dataset.steps_per_epoch(batch_size)

    def batches(self, split, batch_size, part=WHOLE):
        """Batches of the validation split; see `ImageDataset.batches`."""
        check_choice("split", split, ("validation",))
        return self._validation.batches(split, batch_size, part)


class FeatureDataset:
    """What `train` asks of an `ImageDataset`, on features that were computed before.

    Epoch e trains on pass e modulo the number of passes, in an order drawn from the seed.

    Args:
        passes: list of `(features, labels)`, one per pass over the training images: float32
            `(images, features)` and int32 `(images,)`.
        validation: `(features, labels)`.

    Attributes:
        sizes: number of images by split: `{"train": n, "validation": n}`.

    Raises:
        InputError: no passes.
    """

    def __init__(self, passes, validation):
        if not passes:
            raise InputError("`passes` must be one or more passes over the images. Received: none.")
        self._passes = list(passes)
        self._splits = {"train": self._passes[0], "validation": validation}
        self.sizes = {split: len(labels) for split, (_, labels) in self._splits.items()}

    def some_training_features(self, most):
        """Features of training images, of at most `most`, spread over the first pass."""
        features, _ = self._passes[0]
        return np.asarray(features[:: -(-len(features) // most)])

    def training_batches(self, batch_size, *, epoch, seed, first_batch=0, part=WHOLE):
        """Shuffled batches of one pass; see `ImageDataset.training_batches`."""
        features, labels = self._passes[epoch % len(self._passes)]
        order = np.random.default_rng((seed, epoch)).permutation(len(labels))
        own = positions_of_part(len(order), batch_size, first_batch=first_batch, part=part)
        return _batches(features, labels, order[own], batch_size // part[1])

    def steps_per_epoch(self, batch_size):
        """Batches in a pass; see `ImageDataset.steps_per_epoch`."""
        return -(-self.sizes["train"] // batch_size)

    def batches(self, split, batch_size, part=WHOLE):
        """Batches of one split in a fixed order; see `ImageDataset.batches`."""
        check_choice("split", split, self._splits)
        check_whole("batch_size", batch_size, least=1)
        features, labels = self._splits[split]
        own = positions_of_part(len(labels), batch_size, first_batch=0, part=part)
        return _batches(features, labels, own, batch_size // part[1])


def _batches(features, labels, order, batch_size):
    """Batches of rows in that order, read when they are asked for."""

    def rows(positions):
        return features[positions], labels[positions]

    def read(positions):
        batch = tf.numpy_function(rows, [positions], (tf.float32, tf.int32))
        return [
            tf.ensure_shape(tensor, (None, *shape))
            for tensor, shape in zip(batch, (features.shape[1:], ()), strict=True)
        ]

    positions = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
    return positions.map(lambda p: tuple(read(p))).prefetch(tf.data.AUTOTUNE)
