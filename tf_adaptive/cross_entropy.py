"""The cross-entropy that the losses of exits and of resolutions are made of."""

import keras

from tf_adaptive.errors import InputError


def smoothed_cross_entropy(labels, logits, label_smoothing=0.0, sample_weights=None):
    """The mean cross-entropy of a batch, with label smoothing as in Szegedy et al. 2016, section 7.

    The target is `1 - s + s / classes` for the label and `s / classes` elsewhere.

    Args:
        labels: integers `(batch,)`.
        logits: `(batch, classes)`, computed on in float32.
        label_smoothing: s, at least 0 and below 1.
        sample_weights: `(batch,)`, what each sample's counts; None for 1.

    Returns:
        float32 scalar.

    Raises:
        InputError: `label_smoothing` out of range.
    """
    check_label_smoothing(label_smoothing)
    losses = keras.losses.categorical_crossentropy(
        keras.ops.one_hot(labels, logits.shape[-1], dtype="float32"),
        keras.ops.cast(logits, "float32"),
        from_logits=True,
        label_smoothing=label_smoothing,
    )
    return keras.ops.mean(losses if sample_weights is None else sample_weights * losses)


def check_label_smoothing(label_smoothing):
    """Refuses a `label_smoothing` that is not at least 0 and below 1."""
    if not 0 <= label_smoothing < 1:
        raise InputError(
            "`label_smoothing` must be at least 0 and below 1. "
            f"Received: label_smoothing={label_smoothing}."
        )
