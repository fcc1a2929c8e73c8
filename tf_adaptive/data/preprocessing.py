"""From the images people have to what a network takes, inside the graph."""

import tensorflow as tf

from tf_adaptive.data.augmentation import resize, resized_center_crop
from tf_adaptive.data.decoding import decode, size_checks
from tf_adaptive.images import normalized
from tf_adaptive.pictures import AS_SEEN

# Decoded pictures are large; this many are in memory at once.
_PARALLEL_DECODES = 4


class Preprocessing:
    """Resizes and normalises as the evaluation of a run does.

    Args:
        image_shape: `(height, width, channels)` of what the network takes.
        mean, std: one number per channel, for pixels in [0, 1].
        center_crop: whether the network sees the centre of an image and not all of it.
        picture_reading: of files, see `tf_adaptive.data.decoding.decode`.
    """

    def __init__(self, *, image_shape, mean, std, center_crop, picture_reading=AS_SEEN):
        self.image_shape = tuple(image_shape)
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.center_crop = center_crop
        self.picture_reading = picture_reading

    @classmethod
    def of(cls, description):
        """That of a data set's `ImageDataset.description`, whatever else stands in it."""
        names = ("image_shape", "mean", "std", "center_crop", "picture_reading")
        return cls(**{name: description[name] for name in names})

    def images(self, images):
        """Images of one size, made ready.

        Args:
            images: uint8 `(batch, height, width, channels)`, any batch, height and width.

        Returns:
            float32 `(batch, *image_shape)`.

        Raises:
            tf.errors.InvalidArgumentError: when run on another channel count, no pixels, more
                than `MAX_PIXELS` in an image, or more than `MAX_ASPECT_RATIO` (both of
                `tf_adaptive.pictures`) where only the centre is seen.
        """
        channels = self.image_shape[-1]
        shape = tf.shape(images)
        checks = [
            tf.debugging.Assert(
                tf.equal(shape[-1], channels),
                [f"`images` must have {channels} channels. Received:", shape[-1]],
            ),
            *size_checks(shape[1], shape[2]),
        ]
        with tf.control_dependencies(checks):
            images = tf.identity(images)
        return normalized(self._resized(images), self.mean, self.std)

    def encoded(self, encoded):
        """Files of images, made ready: `decoded`, and then normalised to float32."""
        return normalized(self.decoded(encoded), self.mean, self.std)

    def decoded(self, encoded):
        """Files of images, decoded and resized; each may have a size of its own.

        Args:
            encoded: string `(batch,)`, whole BMP, GIF, JPEG, PNG or WebP files. Colours become
                grey, or grey colours, where the network takes the other.

        Returns:
            uint8 `(batch, *image_shape)`.

        Raises:
            tf.errors.InvalidArgumentError: when run on something else, a damaged file, more than
                `MAX_PIXELS`, or more than `MAX_ASPECT_RATIO` where only the centre is seen.
        """

        def decode_one(one):
            image = decode(one, channels=self.image_shape[-1], picture_reading=self.picture_reading)
            return self._resized(image[tf.newaxis])[0]

        return tf.map_fn(
            decode_one,
            encoded,
            fn_output_signature=tf.TensorSpec(self.image_shape, tf.uint8),
            parallel_iterations=_PARALLEL_DECODES,
        )

    def _resized(self, images):
        """uint8 `(batch, *image_shape)`."""
        size = self.image_shape[:2]
        if self.center_crop:
            resized = resized_center_crop(images, size=size[0])
        else:
            resized = tf.cond(
                tf.reduce_all(tf.shape(images)[1:3] == size),
                lambda: images,
                lambda: resize(images, size),
            )
        return tf.ensure_shape(resized, (None, *self.image_shape))
