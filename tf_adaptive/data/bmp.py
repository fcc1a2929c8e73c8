"""BMP files, of which TensorFlow itself reads those without a palette."""

import tensorflow as tf

from tf_adaptive.data.file_bytes import end_of, file_bytes, number

_INFO_HEADER_BYTES, _ALPHA_HEADER_BYTES = 40, 56
_HEADER_AT = 14
_PLAIN, _BIT_FIELDS = 0, 3
_BLUE_FIRST = (0xFF0000, 0xFF00, 0xFF)
_ALPHA_LAST = 0xFF000000
_PALETTE_COLOURS = 256


def read_bmp(encoded):
    """A BMP file's picture.

    Args:
        encoded: string scalar, a BMP file.

    Returns:
        uint8 `(height, width, 4)`, the last channel 255 where the file has no alpha.

    Raises:
        tf.errors.InvalidArgumentError: when run on a compressed file, pixels of other bits than 24,
            32 (blue, green, red, and alpha if any) or 1, 4 and 8 with a palette, or a damaged file.
    """
    content = file_bytes(encoded)

    def field(position, length=4):
        return number(content, position, length, big_endian=False)

    header_bytes, bits, compression = field(_HEADER_AT), field(28, 2), field(30)
    is_plain = (header_bytes >= _INFO_HEADER_BYTES) & tf.equal(compression, _PLAIN)
    by_palette = is_plain & tf.reduce_any(tf.equal(bits, (1, 4, 8)))
    masks = tf.stack([field(54), field(58), field(62)])
    by_fields = (
        (header_bytes >= _INFO_HEADER_BYTES)
        & tf.equal(compression, _BIT_FIELDS)
        & tf.equal(bits, 32)
        & tf.reduce_all(tf.equal(masks, _BLUE_FIRST))
    )
    has_alpha = by_fields & (header_bytes >= _ALPHA_HEADER_BYTES) & tf.equal(field(66), _ALPHA_LAST)
    by_colour = by_fields | (is_plain & tf.reduce_any(tf.equal(bits, (24, 32))))
    known = tf.debugging.Assert(
        by_palette | by_colour,
        [
            "A BMP file must be uncompressed, with 24 or 32 bits a pixel in the usual order or a "
            "palette. Received: one with a header of this many bytes, these bits a pixel and this "
            "compression:",
            header_bytes,
            bits,
            compression,
        ],
    )
    with tf.control_dependencies([known]):
        encoded = tf.identity(encoded)
    return tf.cond(
        by_palette,
        lambda: opaque(_read_by_palette(content, bits, header_bytes)),
        lambda: tf.cond(
            has_alpha,
            lambda: tf.io.decode_bmp(encoded, channels=4),
            lambda: opaque(tf.io.decode_image(encoded, channels=3, expand_animations=False)),
        ),
    )


def bmp_size(content):
    """Height and width of a BMP file, int64; the height is negative if its first row is the top.

    Args:
        content: what `file_bytes` gives, of its first 26 bytes or more.
    """
    width, height = (number(content, at, 4, big_endian=False) for at in (18, 22))
    return tf.where(height < 2**31, height, height - 2**32), width


def opaque(image):
    """uint8 `(height, width, 4)` of an image with three channels: 255 is the last."""
    return tf.pad(image, [[0, 0], [0, 0], [0, 1]], constant_values=255)


def _read_by_palette(content, bits, header_bytes):
    """uint8 `(height, width, 3)` of uncompressed numbers of colours."""
    height, width = bmp_size(content)
    rows = tf.abs(height)
    row_bytes = (width * bits + 31) // 32 * 4
    begin = number(content, 10, 4, big_endian=False)
    whole = tf.debugging.Assert(
        begin + rows * row_bytes <= end_of(content),
        ["A BMP file must be whole. Received: one that ends before its pixels do"],
    )
    with tf.control_dependencies([whole]):
        packed = tf.slice(content, [begin], [rows * row_bytes])
    # The first pixel of a byte is in its highest bits.
    shifts = tf.cast(tf.range(8 - bits, -1, -bits), tf.uint8)
    mask = tf.cast(2**bits - 1, tf.uint8)
    numbers = tf.bitwise.bitwise_and(tf.bitwise.right_shift(packed[:, tf.newaxis], shifts), mask)
    numbers = tf.reshape(numbers, tf.stack([rows, row_bytes * 8 // bits]))[:, :width]
    numbers = tf.cond(height < 0, lambda: numbers, lambda: tf.reverse(numbers, [0]))
    return tf.gather(_palette(content, header_bytes), tf.cast(numbers, tf.int32))


def _palette(content, header_bytes):
    """uint8 `(256, 3)`: red, green, blue of each number, zeros where the file ends."""
    begin = tf.minimum(_HEADER_AT + header_bytes, end_of(content))
    entries = content[begin : begin + 4 * _PALETTE_COLOURS]
    entries = tf.pad(entries, [[0, 4 * _PALETTE_COLOURS - tf.size(entries)]])
    return tf.reshape(entries, (_PALETTE_COLOURS, 4))[:, 2::-1]
