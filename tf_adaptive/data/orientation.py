"""How a camera was held: the orientation that EXIF notes in JPEG, PNG and WebP files.

Damaged notes, and those of other kinds than the standard's, are as good as none.
"""

import functools

import tensorflow as tf

from tf_adaptive.data.file_bytes import (
    end_of,
    file_bytes,
    find_part,
    has_name,
    number,
    number_of,
    where_held,
)

_UPRIGHT = 1
_EXIF = b"Exif\0\0"
_TIFF_MARK = 42
_ORIENTATION_TAG, _SHORT, _ENTRY_BYTES = 0x0112, 3, 12

# Markers that no length follows: TEM, the restarts, and the start of the image.
_BARE_MARKERS = (0xFF01, *range(0xFFD0, 0xFFD9))
_EXIF_MARKER, _END_MARKER, _SCAN_MARKER, _FILL = 0xFFE1, 0xFFD9, 0xFFDA, 0xFFFF

# By orientation from 1 to 8: what makes it upright, the swap of the axes first.
_SWAPPED = (False, False, False, False, True, True, True, True)
_TOP_DOWN = (False, False, True, True, False, False, True, True)
_LEFT_RIGHT = (False, True, True, False, False, True, True, False)


def jpeg_orientation(encoded):
    """The orientation that a JPEG file's first EXIF segment notes, from 1 to 8: int64 scalar."""
    upright = tf.constant(_UPRIGHT, tf.int64)
    return where_held(encoded, b"Exif", lambda: _segment_orientation(encoded), upright)


def _segment_orientation(encoded):
    content = file_bytes(encoded)

    def marker(position):
        return number(content, position, 2, big_endian=True)

    def is_exif(position):
        return tf.equal(marker(position), _EXIF_MARKER) & has_name(content, position + 4, _EXIF)

    def is_last(position):
        found = marker(position)
        is_marker = found >= 0xFF00
        is_end = tf.equal(found, _END_MARKER) | tf.equal(found, _SCAN_MARKER)
        return ~is_marker | is_end | is_exif(position)

    def following(position):
        found = marker(position)
        length = 2 + number(content, position + 2, 2, big_endian=True)
        length = tf.where(
            tf.reduce_any(tf.equal(found, _BARE_MARKERS)), tf.cast(2, tf.int64), length
        )
        return position + tf.where(tf.equal(found, _FILL), tf.cast(1, tf.int64), length)

    position = find_part(content, 0, is_last=is_last, following=following)
    end = position + 2 + number(content, position + 2, 2, big_endian=True)
    return tf.cond(
        is_exif(position),
        lambda: _noted(content, position + 4, end),
        lambda: tf.constant(_UPRIGHT, tf.int64),
    )


def png_orientation(encoded):
    """The orientation that a PNG file's eXIf chunk notes, from 1 to 8: int64 scalar."""
    # A chunk is its length, its name, as many bytes and a checksum.
    return _chunk_orientation(
        encoded, first=8, name=b"eXIf", length_at=0, name_at=4, big_endian=True, extra=12, even=1
    )


def webp_orientation(encoded):
    """The orientation that a WebP file's EXIF chunk notes, from 1 to 8: int64 scalar."""
    # A chunk is its name, its length and as many bytes, and one more where they are odd.
    return _chunk_orientation(
        encoded, first=12, name=b"EXIF", length_at=4, name_at=0, big_endian=False, extra=8, even=2
    )


def upright(image, orientation):
    """An image as the camera saw it.

    Args:
        image: `(height, width, channels)`.
        orientation: from 1 to 8, int64 scalar.

    Returns:
        `(height, width, channels)`, or with height and width exchanged.
    """

    def turned():
        swapped = tf.cond(
            tf.gather(_SWAPPED, orientation - 1),
            lambda: _transposed(image),
            lambda: image,
        )
        reversed_axes = tf.stack(
            [tf.gather(_TOP_DOWN, orientation - 1), tf.gather(_LEFT_RIGHT, orientation - 1)]
        )
        return tf.reverse(swapped, tf.reshape(tf.where(reversed_axes), (-1,)))

    return tf.cond(tf.equal(orientation, _UPRIGHT), lambda: image, turned)


def _chunk_orientation(encoded, *, name, **layout):
    upright = tf.constant(_UPRIGHT, tf.int64)
    found = functools.partial(_orientation_of_chunk, encoded, name=name, **layout)
    return where_held(encoded, name, found, upright)


def _orientation_of_chunk(encoded, *, first, name, length_at, name_at, big_endian, extra, even):
    content = file_bytes(encoded)

    def length(position):
        return number(content, position + length_at, 4, big_endian=big_endian)

    position = find_part(
        content,
        first,
        is_last=lambda position: has_name(content, position + name_at, name),
        following=lambda position: position + extra + -(-length(position) // even) * even,
    )
    begin = position + 8
    return tf.cond(
        has_name(content, position + name_at, name),
        lambda: _noted(content, begin, begin + length(position)),
        lambda: tf.constant(_UPRIGHT, tf.int64),
    )


def _noted(content, begin, end):
    """The orientation in EXIF data from `begin` to `end`: a TIFF file, named before or not."""
    begin += tf.where(has_name(content, begin, _EXIF), tf.cast(len(_EXIF), tf.int64), 0)
    end = tf.minimum(end, end_of(content))
    tiff = file_bytes(content[tf.minimum(begin, end) : end])
    big_endian = has_name(tiff, 0, b"MM")
    is_tiff = (big_endian | has_name(tiff, 0, b"II")) & tf.equal(
        number(tiff, 2, 2, big_endian=big_endian), _TIFF_MARK
    )
    # Of the first directory: how many entries, and then those.
    directory = tf.minimum(number(tiff, 4, 4, big_endian=big_endian), end_of(tiff))
    count = number(tiff, directory, 2, big_endian=big_endian)
    count = tf.clip_by_value((end_of(tiff) - directory - 2) // _ENTRY_BYTES, 0, count)
    entries = tf.slice(tiff, [directory + 2], [count * _ENTRY_BYTES])
    entries = tf.reshape(entries, (-1, _ENTRY_BYTES))
    tag, kind = (number_of(entries[:, at : at + 2], big_endian=big_endian) for at in (0, 2))
    is_orientation = (
        tf.equal(tag, _ORIENTATION_TAG)
        & tf.equal(kind, _SHORT)
        & tf.equal(number_of(entries[:, 4:8], big_endian=big_endian), 1)
    )
    values = number_of(entries[:, 8:10], big_endian=big_endian)
    value = tf.concat([tf.boolean_mask(values, is_orientation), [_UPRIGHT]], axis=0)[0]
    is_known = is_tiff & (value >= 1) & (value <= len(_SWAPPED))
    return tf.where(is_known, value, _UPRIGHT)


def _transposed(image):
    """An image with height and width exchanged.

    By places: of a transpose of uint8, oneDNN says on standard error that it leaves it to others.
    """
    height, width, channels = tf.unstack(tf.shape(image))
    places = tf.range(width)[:, tf.newaxis] + width * tf.range(height)
    return tf.gather(tf.reshape(image, (height * width, channels)), places)
