"""A data set as training and evaluation see it: batches of normalised images."""

import copy

import numpy as np
import tensorflow as tf

from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.images import normalized
from tf_adaptive.parts import WHOLE
from tf_adaptive.pictures import AS_SEEN


class ImageDataset:
    """Training, validation, calibration and test images of one data set.

    Args:
        name: the name it was loaded by.
        class_names: one name per label.
        mean, std: one number per channel, for pixels in [0, 1].
        train, validation, calibration, test: the splits, as `ArrayImages`, `FolderImages`,
            `TfdsImages` or `ScaledImages`; that of calibration may be empty.

    Attributes:
        picture_reading: how files are read, "as_seen" or "as_stored", see
            `tf_adaptive.data.decoding.decode`; for images in memory, those that a network trained
            on them is shown.
        settings: what it was loaded by, the arguments of `load_dataset` but for the seed; None for
            one that was made in another way.
        num_classes: int.
        image_shape: `(height, width, channels)`.
        center_crop: whether evaluation sees the centre of an image (`resized_center_crop`) and
            not all of it.
        sizes: number of images by split, `{"train": n, "validation": n, "calibration": n,
            "test": n}`.
    """

    def __init__(self, *, name, class_names, mean, std, train, validation, calibration, test):
        self.name = name
        self.settings = None
        self.class_names = tuple(class_names)
        self.num_classes = len(self.class_names)
        self.image_shape = train.image_shape
        self.center_crop = test.center_crop
        self.picture_reading = getattr(test, "picture_reading", AS_SEEN)
        self.mean = tuple(float(value) for value in mean)
        self.std = tuple(float(value) for value in std)
        self._splits = {
            "train": train,
            "validation": validation,
            "calibration": calibration,
            "test": test,
        }
        self.sizes = {split: len(images) for split, images in self._splits.items()}

    def description(self):
        """What a user of a model trained on it must know, in values JSON can hold."""
        return {
            "class_names": list(self.class_names),
            "image_shape": list(self.image_shape),
            "center_crop": self.center_crop,
            "picture_reading": self.picture_reading,
            "mean": list(self.mean),
            "std": list(self.std),
            "sizes": dict(self.sizes),
        }

    def seen_with(self, *, channels=None, mean=None, std=None):
        """The same images as another network takes them.

        Args:
            channels: 3 to see grey images as colours, three equal channels that are made batch by
                batch; None for the images' own.
            mean, std: one number per channel, for pixels in [0, 1], in place of the data set's;
                None for the data set's.

        Returns:
            An `ImageDataset`; this one stays as it is.

        Raises:
            InputError: other channels than the images' own or 3 of grey ones; not one mean and one
                std above 0 for each.

        Example:
            >>> colour = load_dataset("fashion_mnist", image_size=32).seen_with(channels=3)
            >>> colour.image_shape
            (32, 32, 3)
        """
        own = self.image_shape[-1]
        channels = own if channels is None else channels
        if channels != own and (own, channels) != (1, 3):
            raise InputError(
                f"`channels` must be {own}{' or 3' if own == 1 else ''} for the images of "
                f"{self.name!r}. Received: channels={channels}."
            )
        seen = copy.copy(self)
        seen.image_shape = (*self.image_shape[:2], channels)
        for argument, given in (("mean", mean), ("std", std)):
            values = getattr(self, argument) * (channels // own) if given is None else given
            values = tuple(float(value) for value in values)
            if len(values) != channels or not np.all(np.isfinite(values)):
                raise InputError(
                    f"`{argument}` must be {channels} finite numbers, one per channel. "
                    f"Received: {argument}={given}."
                )
            setattr(seen, argument, values)
        if min(seen.std) <= 0:
            raise InputError(f"`std` must be above 0. Received: std={std}.")
        return seen

    def training_batches(self, batch_size, *, epoch, seed, first_batch=0, part=WHOLE):
        """Shuffled, augmented, normalised batches of one pass over the training images.

        The same `(seed, epoch)` gives the same bits each time, and the batches from
        `first_batch` on are those of the whole pass, without the work of those before.

        Args:
            batch_size: images in a batch; the last batch of the pass holds what is left.
            epoch: which pass, from 0.
            seed: what order and augmentation are drawn from, from 0.
            first_batch: number of batches to leave out at the start.
            part: `(index, count)` of a worker that sees its rows of every batch alone, as
                `rows_of_part` has them; `batch_size` must be a multiple of the count.

        Returns:
            A `tf.data.Dataset` of `(images, labels)`: float32
            `(batch, height, width, channels)` and int32 `(batch,)`.

        Raises:
            InputError: an argument that is no whole number or out of range.
        """
        check_whole("batch_size", batch_size, least=1)
        check_whole("epoch", epoch, least=0)
        check_whole("seed", seed, least=0)
        check_whole("first_batch", first_batch, least=0)
        draws = np.random.SeedSequence((seed, epoch)).generate_state(3)
        batches = self._splits["train"].shuffled_batches(
            batch_size,
            order_seed=int(draws[0]),
            augmentation_seed=tf.constant(draws[1:].astype(np.int32)),
            first_batch=first_batch,
            part=part,
        )
        return self._normalized(batches)

    def steps_per_epoch(self, batch_size):
        """Batches in a pass over the training images, the last one of what is left included."""
        return -(-self.sizes["train"] // batch_size)

    def batches(self, split, batch_size, part=WHOLE):
        """Normalised batches of one split in a fixed order, for evaluation.

        Args:
            split: "train", "validation", "calibration" or "test".
            batch_size: images in a batch; the last batch holds what is left.
            part: see `training_batches`.

        Returns:
            A `tf.data.Dataset` of `(images, labels)`, see `training_batches`.

        Raises:
            InputError: an unknown split, or a batch size that is no whole number from 1.
        """
        check_choice("split", split, self._splits)
        check_whole("batch_size", batch_size, least=1)
        return self._normalized(self._splits[split].batches(batch_size, part))

    def pictures(self, split, indices):
        """Images as evaluation sees them, but not normalised: for people to look at.

        Args:
            split: "train", "validation", "calibration" or "test".
            indices: positions in the order of `batches(split)`.

        Returns:
            A list of uint8 arrays `(height, width, channels)`.

        Raises:
            InputError: an unknown split, or a position outside it.
        """
        check_choice("split", split, self._splits)
        indices = np.asarray(indices, np.int64)
        outside = indices[(indices < 0) | (indices >= self.sizes[split])]
        if outside.size:
            raise InputError(
                f"`indices` must be from 0 to {self.sizes[split] - 1} for the {split} images. "
                f"Received: {outside[0]}."
            )
        pictures = self._splits[split].pictures(indices)
        return [np.repeat(picture, self._repeats(), axis=-1) for picture in pictures]

    def object_scales(self, split):
        """How large the object in each image is, where the data set knows it.

        Args:
            split: "train", "validation", "calibration" or "test".

        Returns:
            float32 `(images,)` in the order of `batches(split)`: the object's side as a part
            of the image's. None for data sets other than "fashion_mnist_scaled".

        Raises:
            InputError: an unknown split.
        """
        check_choice("split", split, self._splits)
        return getattr(self._splits[split], "object_scales", None)

    def _normalized(self, batches):
        repeats = self._repeats()

        def normalize(images, labels):
            if repeats > 1:
                images = tf.repeat(images, repeats, axis=-1)
            return normalized(images, self.mean, self.std), labels

        options = tf.data.Options()
        options.deterministic = True
        return (
            batches.map(normalize, num_parallel_calls=tf.data.AUTOTUNE)
            .prefetch(tf.data.AUTOTUNE)
            .with_options(options)
        )

    def _repeats(self):
        """How many channels of what a network takes are made of one of the images."""
        return self.image_shape[-1] // self._splits["train"].image_shape[-1]
