"""From the images people have to what a network takes, inside the graph."""

import tensorflow as tf

from tf_adaptive.data.augmentation import resize, resized_center_crop
from tf_adaptive.data.encoded_images import decode
from tf_adaptive.data.image_dataset import normalized

# 33.5 million: more than a camera of 32 megapixels gives. A picture of 10 kB can claim to be larger
# than the memory.
MAX_PIXELS = 2**25

# Where only the centre is seen, an image is first made small by its short side: one that is a pixel
# high would become as many times longer as it becomes higher.
MAX_ASPECT_RATIO = 100

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_BYTES = 24

# The decoder makes colours of them, but not grey.
_CMYK_CHANNELS = 4

# Decoded pictures are large; this many are in memory at once.
_PARALLEL_DECODES = 4


class Preprocessing:
    """Resizes and normalises as the evaluation of a run does.

    Args:
        image_shape: `(height, width, channels)` of what the network takes.
        mean, std: one number per channel, for pixels in [0, 1].
        center_crop: whether the network sees the centre of an image and not all of it.
    """

    def __init__(self, *, image_shape, mean, std, center_crop):
        self.image_shape = tuple(image_shape)
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.center_crop = center_crop

    def images(self, images):
        """Images of one size, made ready.

        Args:
            images: uint8 `(batch, height, width, channels)`, any batch, height and width.

        Returns:
            float32 `(batch, *image_shape)`.

        Raises:
            tf.errors.InvalidArgumentError: when run on another channel count, no pixels, more
                than `MAX_PIXELS` in an image, or more than `MAX_ASPECT_RATIO` where only the
                centre is seen.
        """
        channels = self.image_shape[-1]
        shape = tf.shape(images)
        checks = [
            tf.debugging.Assert(
                tf.equal(shape[-1], channels),
                [f"`images` must have {channels} channels. Received:", shape[-1]],
            ),
            *_size_checks(shape[1], shape[2]),
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
            encoded: string `(batch,)`, whole JPEG or PNG files. Colours become grey, or grey
                colours, where the network takes the other; a JPEG's note of how the camera was
                held is not looked at.

        Returns:
            uint8 `(batch, *image_shape)`.

        Raises:
            tf.errors.InvalidArgumentError: when run on something else, a damaged file, more than
                `MAX_PIXELS`, or more than `MAX_ASPECT_RATIO` where only the centre is seen.
        """
        return tf.map_fn(
            lambda one: self._resized(_decoded(one, channels=self.image_shape[-1])[None])[0],
            encoded,
            fn_output_signature=tf.TensorSpec(self.image_shape, tf.uint8),
            parallel_iterations=_PARALLEL_DECODES,
        )

    def _resized(self, images):
        """uint8 `(batch, *image_shape)`."""
        size = self.image_shape[:2]
        if self.center_crop:
            with tf.control_dependencies([_ratio_check(images)]):
                resized = resized_center_crop(tf.identity(images), size=size[0])
        else:
            resized = tf.cond(
                tf.reduce_all(tf.shape(images)[1:3] == size),
                lambda: images,
                lambda: resize(images, size),
            )
        return tf.ensure_shape(resized, (None, *self.image_shape))


def _decoded(encoded, *, channels):
    """uint8 `(height, width, channels)` of a JPEG or PNG file that is not too large."""
    is_jpeg = tf.io.is_jpeg(encoded)
    is_png = (tf.strings.substr(encoded, 0, 8) == _PNG_START) & (
        tf.strings.length(encoded) >= _PNG_HEADER_BYTES
    )
    known = tf.debugging.Assert(
        is_jpeg | is_png,
        [
            "Every image must be a JPEG or PNG file. Received: something else, of this many bytes:",
            tf.strings.length(encoded),
        ],
    )
    # The sizes are read before anything is decoded.
    with tf.control_dependencies([known]):
        height, width = tf.unstack(
            tf.cond(is_jpeg, lambda: _jpeg_size(encoded, channels), lambda: _png_size(encoded)),
            num=2,
        )
    with tf.control_dependencies(_size_checks(height, width)):
        return decode(tf.identity(encoded), channels=channels)


def _jpeg_size(encoded, channels):
    """Height and width of a JPEG file that can be decoded to as many channels."""
    height, width, own_channels = tf.unstack(tf.image.extract_jpeg_shape(encoded), num=3)
    decodable = tf.debugging.Assert(
        tf.not_equal(own_channels, _CMYK_CHANNELS) | (channels == 3),
        ["A JPEG file for a network of grey images must not be CMYK. Received: one that is"],
    )
    with tf.control_dependencies([decodable]):
        return tf.stack([height, width])


def _png_size(encoded):
    """Height and width as the header has them: two numbers of four bytes, the width first."""
    header = tf.io.decode_raw(tf.strings.substr(encoded, 16, 8), tf.uint8)
    digits = tf.reshape(tf.cast(header, tf.int32), (2, 4))
    return tf.reverse(tf.reduce_sum(digits * [2**24, 2**16, 2**8, 1], axis=1), axis=[0])


def _size_checks(height, width):
    height, width = tf.cast(height, tf.int64), tf.cast(width, tf.int64)
    return [
        tf.debugging.Assert(
            (height > 0) & (width > 0) & (height * width <= MAX_PIXELS),
            [
                f"An image must have from 1 to {MAX_PIXELS} pixels. "
                "Received: an image of this height and width:",
                height,
                width,
            ],
        )
    ]


def _ratio_check(images):
    height, width = tf.unstack(tf.shape(images)[-3:-1])
    return tf.debugging.Assert(
        tf.maximum(height, width) <= MAX_ASPECT_RATIO * tf.minimum(height, width),
        [
            f"An image must be at most {MAX_ASPECT_RATIO} times as long as wide. "
            "Received: an image of this height and width:",
            height,
            width,
        ],
    )
