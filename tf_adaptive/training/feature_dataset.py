"""Features in memory, as training sees images."""

import numpy as np
import tensorflow as tf

from tf_adaptive.errors import InputError, check_choice, check_whole


def collect_features(backbone, batches):
    """Runs a model in inference over batches.

    Args:
        backbone: `keras.Model` from images to one tensor `(batch, features)`.
        batches: iterable of `(images, labels)`.

    Returns:
        float32 `(images, features)` and int32 `(images,)`, in the batches' order.
    """
    run = tf.function(
        lambda images: backbone(images, training=False),
        input_signature=[tf.TensorSpec((None, *backbone.input_shape[1:]))],
    )
    pairs = [(run(images).numpy(), np.asarray(labels)) for images, labels in batches]
    features, labels = zip(*pairs, strict=True)
    return np.concatenate(features), np.concatenate(labels)


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
            raise InputError("`passes` must be one or more passes over the images. Received: none")
        self._passes = list(passes)
        self._splits = {"train": self._passes[0], "validation": validation}
        self.sizes = {split: len(labels) for split, (_, labels) in self._splits.items()}

    def training_batches(self, batch_size, *, epoch, seed, first_batch=0):
        """Shuffled batches of one pass; see `ImageDataset.training_batches`."""
        features, labels = self._passes[epoch % len(self._passes)]
        order = np.random.default_rng((seed, epoch)).permutation(len(labels))
        order = order[first_batch * batch_size :]
        return _batches(features[order], labels[order], batch_size)

    def batches(self, split, batch_size):
        """Batches of one split in a fixed order; see `ImageDataset.batches`."""
        check_choice("split", split, self._splits)
        check_whole("batch_size", batch_size, least=1)
        return _batches(*self._splits[split], batch_size)


def _batches(features, labels, batch_size):
    return tf.data.Dataset.from_tensor_slices((features, labels)).batch(batch_size)
