"""Files of pictures as pixels, inside a graph: the one reading of all programs.

Pictures are seen as people see them: turned as the camera was held (EXIF), what is seen through on
white, of those that move the first. Networks that were trained before see them as they are stored.
"""

import functools

import tensorflow as tf

from tf_adaptive.data.bmp import bmp_size, opaque, read_bmp
from tf_adaptive.data.file_bytes import file_bytes, find_part, has_name, number, where_held
from tf_adaptive.data.gif import first_picture, gif_size
from tf_adaptive.data.orientation import (
    jpeg_orientation,
    png_orientation,
    upright,
    webp_orientation,
)
from tf_adaptive.pictures import AS_SEEN, MAX_ASPECT_RATIO, MAX_PIXELS, PICTURE_KINDS

# All kinds say their size in as many bytes, but JPEG.
_START_BYTES = 30

# The decoder makes colours of them, but not grey.
_CMYK_CHANNELS = 4

_WEBP_ANIMATION, _WEBP_ALPHA = 2, 16

# Brightness of red, green and blue in parts of 65,536.
_BRIGHTNESS = (19595, 38470, 7471)


def decode(encoded, *, channels, picture_reading=AS_SEEN):
    """A BMP, GIF, JPEG, PNG or WebP file's picture.

    Args:
        encoded: string scalar, the whole file.
        channels: 1 or 3; colours become grey, or grey colours.
        picture_reading: "as_seen": upright as EXIF notes it, what is seen through on white, a
            GIF's first picture on its canvas, a BMP's palette obeyed. "as_stored": as
            `tf.io.decode_image` reads it, alpha dropped, which is how networks were trained that
            know of no reading.

    Returns:
        uint8 `(height, width, channels)`.

    Raises:
        tf.errors.InvalidArgumentError: when run on something else, a damaged file, or no pixels or
            more than `MAX_PIXELS`, which is seen before anything is decoded.
    """
    return _decoder(channels, picture_reading == AS_SEEN)(encoded)


@functools.cache
def _decoder(channels, as_seen):
    """`decode` as a function that is traced once, however many graphs call it."""
    return tf.function(
        lambda encoded: _decoded(encoded, channels, as_seen),
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
    )


def _decoded(encoded, channels, as_seen):
    kinds = (_jpeg, _png, _bmp, _gif, _webp)
    # A loop over a file's parts is many small steps.
    with tf.device("CPU"):
        start = file_bytes(_start(encoded))
        is_kind = tf.stack(
            [
                has_name(start, 0, b"\xff\xd8\xff"),
                has_name(start, 0, b"\x89PNG") & has_name(start, 4, b"\r\n\x1a\n"),
                has_name(start, 0, b"BM"),
                has_name(start, 0, b"GIF87a") | has_name(start, 0, b"GIF89a"),
                has_name(start, 0, b"RIFF") & has_name(start, 8, b"WEBPVP8"),
            ]
        )
        is_known = tf.reduce_any(is_kind) & (tf.strings.length(encoded) >= _START_BYTES)
        known = tf.debugging.Assert(
            is_known,
            [
                f"Every image must be a {PICTURE_KINDS} file. "
                "Received: something else, of this many bytes:",
                tf.strings.length(encoded),
            ],
        )
        with tf.control_dependencies([known]):
            kind = tf.argmax(is_kind, output_type=tf.int32)
        image = tf.switch_case(
            kind,
            [lambda read=read: read(encoded, start, channels, as_seen) for read in kinds],
        )
        return tf.ensure_shape(image, (None, None, channels))


def size_checks(height, width):
    """Operations that refuse an image without pixels or with more than `MAX_PIXELS`."""
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


def ratio_check(images):
    """An operation that refuses images `(..., height, width, channels)` that are too thin."""
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


def _jpeg(encoded, start, channels, as_seen):
    height, width, own_channels = tf.unstack(tf.image.extract_jpeg_shape(encoded), num=3)
    with tf.control_dependencies(size_checks(height, width)):
        encoded = tf.identity(encoded)
    # To the bit as Pillow, and no slower than what `tf.io.decode_image` does.
    read = _read_jpeg_as_others if as_seen else _read
    image = tf.cond(
        tf.equal(own_channels, _CMYK_CHANNELS),
        lambda: _of_channels(read(encoded, 3), channels),
        lambda: read(encoded, channels),
    )
    return upright(image, jpeg_orientation(encoded)) if as_seen else image


def _png(encoded, start, channels, as_seen):
    width, height = (number(start, at, 4, big_endian=True) for at in (16, 20))
    with tf.control_dependencies(size_checks(height, width)):
        encoded = tf.identity(encoded)
    if not as_seen:
        return _read(encoded, channels)
    image = tf.cond(
        _png_has_alpha(encoded, start),
        lambda: _on_white(_read(encoded, 4)),
        lambda: _read(encoded, 3),
    )
    return upright(_of_channels(image, channels), png_orientation(encoded))


def _png_has_alpha(encoded, start):
    """Whether it has alpha, or a transparent colour: where it has none, the decoder adds a wrong
    one to pixels of few bits."""

    def before_the_pixels():
        content = file_bytes(encoded)
        position = find_part(
            content,
            8,
            is_last=lambda at: (
                has_name(content, at + 4, b"tRNS") | has_name(content, at + 4, b"IDAT")
            ),
            following=lambda at: at + 12 + number(content, at, 4, big_endian=True),
        )
        return has_name(content, position + 4, b"tRNS")

    colour_type = number(start, 25, 1, big_endian=True)
    return (colour_type >= 4) | where_held(encoded, b"tRNS", before_the_pixels, tf.constant(False))


def _bmp(encoded, start, channels, as_seen):
    height, width = bmp_size(start)
    with tf.control_dependencies(size_checks(tf.abs(height), width)):
        encoded = tf.identity(encoded)
    image = _on_white(read_bmp(encoded)) if as_seen else _read(encoded, 3)
    return _of_channels(image, channels)


def _gif(encoded, start, channels, as_seen):
    with tf.control_dependencies(size_checks(*tf.unstack(gif_size(start), num=2))):
        stored, seen, frame, canvas = first_picture(tf.identity(encoded))
    with tf.control_dependencies(size_checks(*tf.unstack(canvas, num=2))):
        stored, seen = tf.identity(stored), tf.identity(seen)
    if not as_seen:
        return _of_channels(_read(stored, 3), channels)
    before = frame[:2]
    after = canvas - before - frame[2:]
    margins = tf.concat([tf.stack([before, after], axis=1), [[0, 0]]], axis=0)
    return _of_channels(tf.pad(_read(seen, 3), margins, constant_values=255), channels)


def _webp(encoded, start, channels, as_seen):
    def bits_from(position, first_bit, bits):
        return number(start, position, 4, big_endian=False) // 2**first_bit % 2**bits

    is_lossless, is_extended = (has_name(start, 12, name) for name in (b"VP8L", b"VP8X"))
    # Of lossy files, and then of the others, which count from 0.
    width, height = bits_from(26, 0, 14), bits_from(28, 0, 14)
    width = tf.where(is_lossless, 1 + bits_from(21, 0, 14), width)
    height = tf.where(is_lossless, 1 + bits_from(21, 14, 14), height)
    width = tf.where(is_extended, 1 + bits_from(24, 0, 24), width)
    height = tf.where(is_extended, 1 + bits_from(27, 0, 24), height)
    with tf.control_dependencies(size_checks(height, width)):
        encoded = tf.identity(encoded)
    flags = bits_from(20, 0, 8)
    # The decoder writes four channels of what moves, into room for three where no alpha is noted.
    is_moving = is_extended & tf.equal(flags // _WEBP_ANIMATION % 2, 1)
    has_alpha = tf.equal(flags // _WEBP_ALPHA % 2, 1)
    encoded = tf.cond(
        is_moving & ~has_alpha,
        lambda: _with_webp_flags(encoded, flags + _WEBP_ALPHA),
        lambda: encoded,
    )
    image = _read(encoded, 0)
    image = tf.cond(tf.equal(tf.shape(image)[-1], 4), lambda: image, lambda: opaque(image))
    image = tf.ensure_shape(image, (None, None, 4))
    if not as_seen:
        return _of_channels(image[..., :3], channels)
    return upright(_of_channels(_on_white(image), channels), webp_orientation(encoded))


def _with_webp_flags(encoded, flags):
    flags = tf.gather(tf.constant([bytes([value]) for value in range(256)]), flags)
    rest = tf.strings.substr(encoded, 21, tf.strings.length(encoded))
    return tf.strings.join([tf.strings.substr(encoded, 0, 20), flags, rest])


def _read_jpeg_as_others(encoded, channels):
    image = tf.io.decode_jpeg(encoded, channels=channels, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(image, (None, None, channels))


def _read(encoded, channels):
    image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
    return tf.ensure_shape(image, (None, None, channels or None))


def _on_white(image):
    """uint8 `(height, width, 3)` of one with a fourth channel, alpha."""
    colours, alpha = image[..., :3], image[..., 3:]

    def composited():
        # 255 times the darkness, and then its 255th part, rounded.
        darkness = tf.cast(255 - colours, tf.uint16) * tf.cast(alpha, tf.uint16) + 128
        darkness = tf.bitwise.right_shift(
            darkness + tf.bitwise.right_shift(darkness, tf.constant(8, tf.uint16)),
            tf.constant(8, tf.uint16),
        )
        return 255 - tf.cast(darkness, tf.uint8)

    return tf.cond(tf.reduce_all(tf.equal(alpha, 255)), lambda: colours, composited)


def _of_channels(image, channels):
    """uint8 `(height, width, channels)` of colours."""
    if channels == 3:
        return image
    brightness = tf.reduce_sum(tf.cast(image, tf.int32) * _BRIGHTNESS, axis=-1, keepdims=True)
    return tf.cast((brightness + 2**15) // 2**16, tf.uint8)


def _start(encoded):
    start = tf.strings.join([tf.strings.substr(encoded, 0, _START_BYTES), bytes(_START_BYTES)])
    return tf.strings.substr(start, 0, _START_BYTES)
