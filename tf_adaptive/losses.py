"""Losses of a network with several exits."""

import keras
import numpy as np

from tf_adaptive.errors import InputError


def multi_exit_cross_entropy(labels, logits_list, exit_weights=None, label_smoothing=0.0):
    """The weighted sum over the exits of their mean cross-entropies.

    Equation 1 of Huang et al. 2018 (MSDNet), with label smoothing as in Szegedy et al. 2016,
    section 7: the target is `1 - s + s / classes` for the label and `s / classes` elsewhere.

    Args:
        labels: integers `(batch,)`.
        logits_list: one `(batch, classes)` per exit, computed on in float32.
        exit_weights: one number per exit, at least 0 and not all 0; None weighs each with 1.
        label_smoothing: s, at least 0 and below 1.

    Returns:
        `(total, exit_losses)`: a float32 scalar, and a list of one per exit, unweighted.

    Raises:
        InputError: `exit_weights` or `label_smoothing` out of range.
    """
    weights = check_exit_weights(exit_weights, len(logits_list))
    check_label_smoothing(label_smoothing)
    targets = keras.ops.one_hot(labels, logits_list[0].shape[-1], dtype="float32")
    exit_losses = [
        keras.ops.mean(
            keras.losses.categorical_crossentropy(
                targets,
                keras.ops.cast(logits, "float32"),
                from_logits=True,
                label_smoothing=label_smoothing,
            )
        )
        for logits in logits_list
    ]
    total = sum(weight * loss for weight, loss in zip(weights, exit_losses, strict=True))
    return total, exit_losses


def check_exit_weights(exit_weights, num_exits):
    """The weight of each exit as a list of floats, all 1 for None.

    Raises:
        InputError: a wrong number of weights, one below 0 or not finite, or all of them 0.
    """
    if exit_weights is None:
        return [1.0] * num_exits
    weights = np.asarray(exit_weights, "float64")
    if weights.shape != (num_exits,):
        raise InputError(
            f"`exit_weights` must be {num_exits} numbers, one per exit. "
            f"Received: exit_weights={exit_weights}."
        )
    if not np.all(np.isfinite(weights)) or np.any(weights < 0) or not np.any(weights):
        raise InputError(
            "`exit_weights` must be finite, at least 0 and not all 0. "
            f"Received: exit_weights={exit_weights}."
        )
    return weights.tolist()


def check_label_smoothing(label_smoothing):
    """Refuses a `label_smoothing` that is not at least 0 and below 1."""
    if not 0 <= label_smoothing < 1:
        raise InputError(
            "`label_smoothing` must be at least 0 and below 1. "
            f"Received: label_smoothing={label_smoothing}."
        )
