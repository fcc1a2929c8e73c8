"""Numbers and names in a file's bytes, by TensorFlow operations that no damage stops."""

import tensorflow as tf

# Read as zeros where a file has ended.
_MARGIN = 16

# More parts than a camera or a program writes; what is hostile has millions.
_MAX_PARTS = 2**12


def file_bytes(encoded):
    """The bytes of a file, or of a part of one, and zeros after them.

    Args:
        encoded: string scalar, or uint8 `(bytes,)`.

    Returns:
        uint8 `(bytes + 16,)`, for the other functions.
    """
    if encoded.dtype == tf.string:
        encoded = tf.io.decode_raw(encoded, tf.uint8)
    return tf.concat([encoded, tf.zeros(_MARGIN, tf.uint8)], axis=0)


def end_of(content):
    """Where the file of `file_bytes` ends, int64."""
    return tf.size(content, tf.int64) - _MARGIN


def number(content, position, length, *, big_endian):
    """An unsigned number of at most 7 bytes, int64; bytes after the end are 0.

    Args:
        content: what `file_bytes` gives.
        position: where it begins, from 0.
        length: its bytes, at most 7.
        big_endian: bool, or bool scalar.
    """
    position = tf.minimum(tf.cast(position, tf.int64), end_of(content))
    return number_of(tf.slice(content, [position], [length]), big_endian=big_endian)


def number_of(digits, *, big_endian):
    """Unsigned numbers, int64, of uint8 `(..., length)` with `length` at most 7."""
    weights = [256**power for power in range(digits.shape[-1])]
    weights = tf.where(big_endian, weights[::-1], weights)
    return tf.reduce_sum(tf.cast(digits, tf.int64) * tf.cast(weights, tf.int64), axis=-1)


def has_name(content, position, name):
    """Whether these bytes, at most 7, are there: bool scalar."""
    found = number(content, position, len(name), big_endian=True)
    return tf.equal(found, int.from_bytes(name, "big"))


def where_held(encoded, name, look, otherwise):
    """What `look()` finds in a file, which is `otherwise` in one without these bytes anywhere.

    Most have none, and to go from part to part is many small steps.

    Args:
        encoded: string scalar, the file.
        name: bytes of letters.
        look: function without arguments.
        otherwise: a tensor like what it gives.
    """
    # \C is any byte, whatever text it is of.
    is_held = tf.strings.regex_full_match(encoded, rf"\C*{name.decode()}\C*")
    return tf.cond(is_held, look, lambda: otherwise)


def find_part(content, position, *, is_last, following):
    """Goes from part to part of a file, as far as 4,096 of them.

    Args:
        content: what `file_bytes` gives.
        position: of the first part.
        is_last: function from a position to whether to stop there.
        following: function from a position to that of the next part, int64 and larger.

    Returns:
        int64, the position of the part it stopped at; at or after the end if it found none.
    """
    (found,) = tf.while_loop(
        lambda at: (at < end_of(content)) & ~is_last(at),
        lambda at: [following(at)],
        [tf.cast(position, tf.int64)],
        maximum_iterations=_MAX_PARTS,
    )
    return found
