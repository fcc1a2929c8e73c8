"""Logits of a data set, and the accuracy that they reach."""

import math

import numpy as np

from tf_adaptive.errors import InputError

# Standard deviations of a normal distribution on either side that hold 95 % of it.
NORMAL_95 = 1.96


def collect_logits(model, batches):
    """The logits of every exit for every sample, in the order of `batches`.

    Args:
        model: see `logits_collector`.
        batches: an iterable of `(images, labels)`: `(batch, height, width, channels)` and
            integers `(batch,)`.

    Returns:
        `(logits, labels)`: float32 `(exits, samples, classes)` and int64 `(samples,)`.

    Raises:
        InputError: a model with several inputs, outputs of different class counts, or no
            batches.
    """
    return logits_collector(model)(batches)


def logits_collector(model):
    """`collect_logits` of one model, traced once for all data it is called with.

    Args:
        model: a functional model with one image input and a list of K outputs
            `(batch, classes)`, cheapest exit first; one alone may come without a list. A softmax
            or a sigmoid at their end is taken off, with a warning.

    Returns:
        A function of batches. It answers by the weights that the model has when it is called.

    Raises:
        InputError: a model with several inputs, or outputs of different class counts.
    """
    # What runs on small devices needs the rest of this file, and no TensorFlow.
    import keras
    import tensorflow as tf

    from tf_adaptive.graph.final_activation import exits_as_logits

    shapes = [tuple(output.shape) for output in model.outputs]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2:
        raise InputError(
            "`model` must have outputs that are all (batch, classes) with the same class count. "
            f"Received: output shapes {shapes}."
        )
    if len(model.inputs) != 1:
        raise InputError(
            f"`model` must have one input, the images. Received: {len(model.inputs)} inputs."
        )
    images = model.inputs[0]
    model = exits_as_logits(model)

    # An open batch axis: one trace serves the last, smaller batch too.
    @tf.function(input_signature=[tf.TensorSpec((None, *images.shape[1:]), images.dtype)])
    def predict(images):
        exits = keras.tree.flatten(model(images, training=False))
        return tf.stack([tf.cast(exit, tf.float32) for exit in exits])

    def collect(batches):
        logits, labels = [], []
        for batch_images, batch_labels in batches:
            logits.append(predict(batch_images).numpy())
            labels.append(np.asarray(batch_labels, "int64"))
        if not logits:
            raise InputError("`batches` must hold at least one batch. Received: none.")
        return np.concatenate(logits, axis=1), np.concatenate(labels)

    return collect


def log_probabilities(logits):
    """Logarithms of the softmax of logits `(..., classes)`, float64."""
    logits = np.asarray(logits, "float64")
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def percent(right):
    """Top-1 accuracy in percent of a bool array."""
    return 100.0 * float(np.mean(right))


def within_top(logits, labels, most):
    """Whether fewer than `most` other classes are thought likelier than the right one.

    Args:
        logits: float `(..., samples, classes)`.
        labels: integers `(samples,)`.
        most: as 5 for top-5.

    Returns:
        Bool `(..., samples)`; None where there are no more classes than `most`.
    """
    if logits.shape[-1] <= most:
        return None
    of_label = np.take_along_axis(
        logits, np.broadcast_to(labels, logits.shape[:-1])[..., np.newaxis], axis=-1
    )
    return np.count_nonzero(logits > of_label, axis=-1) < most


def accuracy_interval(accuracy_percent, samples):
    """Between what an accuracy lies on all images, as far as a sample of them can say.

    The 95 % interval of Wilson (1927), which also holds for few images and near 100 %.

    Args:
        accuracy_percent: top-1 on the sample.
        samples: how many images that is of, 1 or more.

    Returns:
        `(low, high)` in percent.

    Example:
        >>> accuracy_interval(90.0, 100)
        (82.56..., 94.47...)
    """
    share, squared = accuracy_percent / 100, NORMAL_95**2
    middle = share + squared / (2 * samples)
    margin = NORMAL_95 * math.sqrt(share * (1 - share) / samples + squared / (4 * samples**2))
    scale = 100 / (1 + squared / samples)
    # Rounding may lead out of the range.
    return max(0.0, scale * (middle - margin)), min(100.0, scale * (middle + margin))


def check_logits(argument, logits, networks="exits", *, least=1):
    """Refuses logits that are not `(networks, samples, classes)` or not finite."""
    shape = np.shape(logits)
    if len(shape) != 3 or shape[0] < least or shape[1] < 1 or shape[2] < 2:
        raise InputError(
            f"`{argument}` must be ({networks}, samples, classes) with at least {least} "
            f"{networks}, 1 sample and 2 classes. Received: shape={shape}."
        )
    if not np.all(np.isfinite(logits)):
        raise InputError(
            f"`{argument}` must be finite numbers: has the training diverged? "
            f"Received: {np.count_nonzero(~np.isfinite(logits))} that are not."
        )


def check_labels(labels, logits):
    """Refuses labels that are not one class of the logits for each of their samples."""
    _, num_samples, num_classes = logits.shape
    labels = np.asarray(labels)
    if labels.shape != (num_samples,) or labels.dtype.kind not in "iu":
        raise InputError(
            f"Labels must be {num_samples} integers, one per sample of the logits. "
            f"Received: shape={labels.shape}, dtype={labels.dtype}."
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(
            f"Labels must be in [0, {num_classes}), the classes of the logits. "
            f"Received: labels from {labels.min()} to {labels.max()}."
        )
