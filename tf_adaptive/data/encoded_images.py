"""Images of many sizes that are read and decoded batch by batch."""

import tensorflow as tf

from tf_adaptive.data.augmentation import random_resized_crop, resized_center_crop
from tf_adaptive.data.decoding import decode
from tf_adaptive.parts import WHOLE, positions_of_part
from tf_adaptive.pictures import AS_SEEN

DEFAULT_IMAGE_SIZE = 224

# The constants of the ImageNet experiments, for pixels in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class EncodedImages:
    """One split of images that do not fit in memory, or differ in size.

    A subclass says how to read: `__len__` and two methods that give a `tf.data.Dataset` of
    `(encoded image, label)`: `_read_shuffled(order_seed, positions)` for ascending positions of
    that order, and `_read(indices)` for sorted positions of the fixed order.

    Args:
        image_size: height and width of the images in a batch.
        channels: to decode to, 1 or 3.
        picture_reading: "as_seen" or "as_stored", see `tf_adaptive.data.decoding.decode`.
    """

    center_crop = True

    def __init__(self, *, image_size, channels, picture_reading=AS_SEEN):
        self.image_shape = (image_size, image_size, channels)
        self.picture_reading = picture_reading

    def shuffled_batches(
        self, batch_size, *, order_seed, augmentation_seed, first_batch, part=WHOLE
    ):
        positions = positions_of_part(len(self), batch_size, first_batch=first_batch, part=part)

        def augment(position, example):
            encoded, label = example
            seed = tf.random.fold_in(augmentation_seed, position)
            image = random_resized_crop(self._decode(encoded), seed, size=self.image_shape[0])
            return self._checked(image, label)

        return (
            tf.data.Dataset.zip(
                tf.data.Dataset.from_tensor_slices(positions),
                self._read_shuffled(order_seed, positions),
            )
            .map(augment, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size // part[1])
        )

    def batches(self, batch_size, part=WHOLE):
        positions = positions_of_part(len(self), batch_size, first_batch=0, part=part)
        return self._evaluated(positions).batch(batch_size // part[1])

    def pictures(self, indices):
        wanted = sorted(set(indices))
        images = [image.numpy() for image, _ in self._evaluated(wanted)]
        by_index = dict(zip(wanted, images, strict=True))
        return [by_index[index] for index in indices]

    def _evaluated(self, indices):
        def evaluate(encoded, label):
            image = resized_center_crop(self._decode(encoded), size=self.image_shape[0])
            return self._checked(image, label)

        return self._read(indices).map(evaluate, num_parallel_calls=tf.data.AUTOTUNE)

    def _decode(self, encoded):
        return decode(encoded, channels=self.image_shape[-1], picture_reading=self.picture_reading)

    def _checked(self, image, label):
        return tf.ensure_shape(image, self.image_shape), tf.cast(label, tf.int32)
