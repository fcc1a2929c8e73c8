"""Images as a network takes them: checked, and normalised."""

import numpy as np
import tensorflow as tf

from tf_adaptive.errors import InputError


def checked_images(images, spec):
    """One input of a network as the network's dtype, refused when it cannot be meant.

    Whether numbers are finite can be looked at outside a graph only; see `are_finite`.

    Args:
        images: anything `tf.convert_to_tensor` takes.
        spec: `tf.TensorSpec` of the input, its first axis the batch.

    Returns:
        Tensor of the dtype of `spec`.

    Raises:
        InputError: integers where floating-point is wanted or the other way round; another rank,
            height, width or channel count; outside a graph, NaN or infinite pixels.
    """
    images = tf.convert_to_tensor(images)
    if images.dtype.is_floating != spec.dtype.is_floating:
        kind = "floating-point" if spec.dtype.is_floating else "integers"
        raise InputError(
            f"`images` must be {kind}, normalised as in training. "
            f"Received: dtype {images.dtype.name}."
        )
    if not images.shape.is_compatible_with(spec.shape):
        raise InputError(
            f"`images` must have the shape {_named(spec.shape)}. Received: {tuple(images.shape)}."
        )
    if tf.executing_eagerly():
        (bad,) = np.nonzero(~are_finite([images]).numpy())
        if bad.size:
            raise InputError(
                f"`images` must be finite. Received: NaN or infinite numbers in {bad.size} of "
                f"{len(images)} images, the first at index {bad[0]}."
            )
    return tf.cast(images, spec.dtype)


def are_finite(inputs):
    """Whether each image is without NaN and infinite numbers.

    Args:
        inputs: list of tensors, their first axis the batch.

    Returns:
        bool `(batch,)`.
    """
    return tf.reduce_all(
        [
            tf.reduce_all(tf.math.is_finite(tensor), axis=range(1, len(tensor.shape)))
            for tensor in inputs
            if tensor.dtype.is_floating
        ]
        or [tf.ones(tf.shape(inputs[0])[:1], bool)],
        axis=0,
    )


def _named(shape):
    sizes = ["any" if size is None else str(size) for size in shape[1:]]
    return f"(batch, {', '.join(sizes)})"


def normalized(images, mean, std):
    """Images as a network takes them, float32 of the same shape.

    Args:
        images: uint8 `(batch, height, width, channels)`.
        mean, std: one number per channel, for pixels in [0, 1].
    """
    scale, offset = scale_and_offset(mean, std)
    return tf.cast(images, tf.float32) * scale + offset


def scale_and_offset(mean, std):
    """What normalises pixels from 0 to 255: times the first, plus the second.

    Args:
        mean, std: one number per channel, for pixels in [0, 1].

    Returns:
        Two float32 arrays `(channels,)`.
    """
    mean, std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    return 1 / (255 * std), -mean / std
