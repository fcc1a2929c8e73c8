"""Images held in memory."""

import numpy as np
import tensorflow as tf

from tf_adaptive.data.augmentation import random_shift_and_flip
from tf_adaptive.data.image_dataset import ImageDataset
from tf_adaptive.data.splits import split_training
from tf_adaptive.parts import WHOLE, positions_of_part, rows_of_part


class ArrayImages:
    """One split of a small data set: all its images in one array.

    Args:
        images: uint8 `(images, height, width, channels)`.
        labels: int `(images,)`.
        flip: whether augmentation may flip left to right.
    """

    center_crop = False

    def __init__(self, images, labels, *, flip):
        with tf.device("CPU"):
            self.images = tf.constant(images, tf.uint8)
            self.labels = tf.constant(labels, tf.int32)
        self.image_shape = tuple(images.shape[1:])
        # 4 pixels at 28 and 32 as in the papers, 1 pixel of the 8 x 8 digits.
        self.padding = -(-min(images.shape[1:3]) // 8)
        self.flip = flip

    def __len__(self):
        return len(self.labels)

    def shuffled_batches(
        self, batch_size, *, order_seed, augmentation_seed, first_batch, part=WHOLE
    ):
        order = np.random.default_rng(order_seed).permutation(len(self))

        def augment(batch, positions):
            images = random_shift_and_flip(
                tf.gather(self.images, positions),
                tf.random.fold_in(augmentation_seed, batch),
                padding=self.padding,
                flip=self.flip,
            )
            # Drawn for the whole batch, of which a worker sees its rows.
            first, last = rows_of_part(tf.size(positions), part)
            return images[first:last], tf.gather(self.labels, positions[first:last])

        return (
            tf.data.Dataset.from_tensor_slices(order[first_batch * batch_size :])
            .batch(batch_size)
            .enumerate(first_batch)
            .map(augment, num_parallel_calls=tf.data.AUTOTUNE)
        )

    def batches(self, batch_size, part=WHOLE):
        positions = positions_of_part(len(self), batch_size, first_batch=0, part=part)
        return (
            tf.data.Dataset.from_tensor_slices(positions)
            .batch(batch_size // part[1])
            .map(
                lambda own: (tf.gather(self.images, own), tf.gather(self.labels, own)),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        )

    def pictures(self, indices):
        return list(tf.gather(self.images, indices).numpy())


def array_dataset(
    name,
    *,
    class_names,
    training,
    test,
    train_size,
    validation_size,
    seed,
    flip,
    calibration_size=0,
    mean=None,
    std=None,
):
    """An `ImageDataset` of images in memory, a part of the training images held out.

    Args:
        training, test: `(images, labels)`, see `ArrayImages`.
        train_size, validation_size, calibration_size, seed: see `tf_adaptive.data.load_dataset`.
        mean, std: per channel; those of the training images where they are not given.
    """
    images, labels = training
    positions = split_training(
        labels,
        train_size=train_size,
        validation_size=validation_size,
        calibration_size=calibration_size,
        seed=seed,
    )
    if mean is None:
        mean, std = channel_statistics(images[positions["train"]])
    return ImageDataset(
        name=name,
        class_names=class_names,
        mean=mean,
        std=std,
        **{
            split: ArrayImages(images[chosen], labels[chosen], flip=flip)
            for split, chosen in positions.items()
        },
        test=ArrayImages(*test, flip=flip),
    )


def channel_statistics(images):
    """Mean and standard deviation per channel of uint8 images, for pixels in [0, 1]."""
    channels = images.shape[-1]
    values = np.arange(256) / 255
    mean, std = [], []
    for channel in range(channels):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        mean.append(np.average(values, weights=counts))
        std.append(np.sqrt(np.average((values - mean[-1]) ** 2, weights=counts)))
    return mean, std
