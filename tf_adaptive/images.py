"""Images as a network takes them: checked, and normalised."""

import keras
import numpy as np
import tensorflow as tf

from tf_adaptive.errors import InputError, check_whole


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
    # NumPy looks through one image in a hundredth of the time of TensorFlow's operations.
    if tf.executing_eagerly() and images.dtype.is_floating:
        values = images.numpy()
        if not np.isfinite(values).all():
            (bad,) = np.nonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
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


def in_batches(images, batch_size):
    """Images of any number, batch by batch.

    Args:
        images: array with the batch as its first axis, or a structure of such arrays, of which
            there is at least one batch, maybe an empty one; or a `tf.data.Dataset` of batches: of
            images, or of `(images, labels)` whose labels are left alone.
        batch_size: images per batch where `images` is no data set.

    Raises:
        InputError: a batch size that is no whole number from 1 on; what `count_of` raises.
    """
    if isinstance(images, tf.data.Dataset):
        has_labels = isinstance(images.element_spec, tuple) and len(images.element_spec) > 1
        return (element[0] if has_labels else element for element in images)
    check_whole("batch_size", batch_size, least=1)

    def from_(start):
        return keras.tree.map_structure(lambda array: array[start : start + batch_size], images)

    return map(from_, range(0, max(1, count_of(images)), batch_size))


def count_of(images):
    """How many images there are, the same in every array of a structure of them.

    Raises:
        InputError: arrays without a first axis, or of different numbers of images.
    """
    counts = {tuple(np.shape(array))[:1] for array in keras.tree.flatten(images)}
    if len(counts) != 1 or () in counts:
        raise InputError(
            "`images` must be an array with the batch as its first axis, as many images in each "
            f"input of several. Received: first axes of {sorted(counts)}."
        )
    return counts.pop()[0]


def joined(answers):
    """The answers to batches as one, of numpy arrays.

    Args:
        answers: iterable of dictionaries of tensors, their first axis the batch.

    Raises:
        InputError: there is none.
    """
    answers = list(answers)
    if not answers:
        raise InputError("`images` must hold at least one batch. Received: an empty data set.")
    return {
        name: np.concatenate([answer[name].numpy() for answer in answers]) for name in answers[0]
    }


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
