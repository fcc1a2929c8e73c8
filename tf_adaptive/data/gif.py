"""GIF files: their first picture and its place on the canvas."""

import tensorflow as tf

from tf_adaptive.data.file_bytes import end_of, file_bytes, find_part, number

_SCREEN_END = 13
_EXTENSION, _PICTURE, _TRAILER = 0x21, 0x2C, b";"
_CONTROL = 0xF9
_DESCRIPTOR_BYTES = 10
_WHITE = b"\xff\xff\xff"


def first_picture(encoded):
    """What stands for a GIF file's first picture, so that no other is decoded.

    Args:
        encoded: string scalar, a GIF file.

    Returns:
        `(stored, seen, frame, canvas)`: two string scalars, GIF files of that picture, as it is
        and with white for its transparent colour and no place on the canvas; int64 `(4,)`, its
        top, left, height and width on the canvas; int64 `(2,)`, height and width of the canvas.

    Raises:
        tf.errors.InvalidArgumentError: when run on a file without a picture.
    """
    content = file_bytes(encoded)

    def field(position, length=1):
        return number(content, position, length, big_endian=False)

    ends = _ends_of_blocks(content)

    def end_of_blocks(position):
        position = tf.clip_by_value(position, 0, end_of(content) - 1)
        return tf.cast(tf.gather(ends, position), tf.int64) + 1

    def find(is_last):
        return find_part(
            content,
            table_end,
            is_last=lambda at: tf.not_equal(field(at), _EXTENSION) | is_last(at),
            following=lambda at: end_of_blocks(at + 2),
        )

    def is_control(position):
        return tf.equal(field(position), _EXTENSION) & tf.equal(field(position + 1), _CONTROL)

    table_end = _SCREEN_END + _table_bytes(field(10))
    position = find(lambda at: False)
    found = tf.debugging.Assert(
        tf.equal(field(position), _PICTURE),
        ["A GIF file must have a picture. Received: one without, or a damaged one"],
    )
    with tf.control_dependencies([found]):
        position = tf.identity(position)
    left, top, width, height = (field(position + at, 2) for at in (1, 3, 5, 7))
    local_bytes = _table_bytes(field(position + 9))
    end = end_of_blocks(position + _DESCRIPTOR_BYTES + local_bytes + 1)
    control = find(is_control)
    is_local = local_bytes > 0
    colour = 3 * field(control + 6)
    has_transparent = (
        is_control(control)
        & tf.equal(field(control + 3) % 2, 1)
        & (colour < tf.where(is_local, local_bytes, table_end - _SCREEN_END))
    )
    stored = tf.strings.join([_piece(encoded, 0, end), _TRAILER])
    # Without extensions there is no transparent colour, and the place is four zeros.
    seen = tf.strings.join(
        [
            _piece(encoded, 0, table_end),
            _piece(encoded, position, position + 1),
            bytes(4),
            _piece(encoded, position + 5, end),
            _TRAILER,
        ]
    )
    colour += tf.where(is_local, table_end + _DESCRIPTOR_BYTES, _SCREEN_END)
    seen = tf.cond(has_transparent, lambda: _with(seen, colour, _WHITE), lambda: seen)
    frame = tf.stack([top, left, height, width])
    return stored, seen, frame, tf.maximum(gif_size(content), frame[:2] + frame[2:])


def gif_size(content):
    """Height and width of a GIF file's canvas, int64 `(2,)`, where all of it is in it.

    Args:
        content: what `file_bytes` gives, of its first 10 bytes or more.
    """
    return tf.stack([number(content, at, 2, big_endian=False) for at in (8, 6)])


def _table_bytes(flags):
    """Length of a table of colours, from the flags before it."""
    return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(tf.ones_like(flags), flags % 8 + 1), 0)


def _ends_of_blocks(content):
    """For each byte, where a row of data blocks ends that begins there.

    A block is its length in a byte, and as many bytes; one of length 0 ends the row. All rows are
    followed at once, in steps that double: a file can be millions of short blocks.
    """
    content = content[: end_of(content)]
    places = tf.range(tf.size(content))
    following = places + tf.where(tf.equal(content, 0), 0, tf.cast(content, tf.int32) + 1)
    following = tf.minimum(following, tf.size(content) - 1)

    def double(following, _):
        further = tf.gather(following, following)
        return further, tf.reduce_any(tf.not_equal(further, following))

    ends, _ = tf.while_loop(lambda _, is_moving: is_moving, double, (following, tf.constant(True)))
    return ends


def _with(text, position, new):
    end = tf.strings.length(text)
    after = position + len(new)
    return tf.strings.join([_piece(text, 0, position), new, _piece(text, after, end)])


def _piece(text, begin, end):
    length = tf.cast(tf.strings.length(text), tf.int64)
    begin = tf.clip_by_value(tf.cast(begin, tf.int64), 0, length)
    return tf.strings.substr(text, begin, tf.maximum(tf.cast(end, tf.int64) - begin, 0))
