"""Losses of networks with several exits."""

import keras
import numpy as np

from tf_adaptive.cross_entropy import smoothed_cross_entropy
from tf_adaptive.errors import InputError, check_above_0
from tf_adaptive.exits.thresholds import confidence_scores


def multi_exit_cross_entropy(
    labels, logits_list, exit_weights=None, label_smoothing=0.0, sample_weights=None
):
    """The weighted sum over the exits of their mean cross-entropies.

    Equation 1 of Huang et al. 2018 (MSDNet).

    Args:
        labels: integers `(batch,)`.
        logits_list: one `(batch, classes)` per exit, computed on in float32.
        exit_weights: one number per exit, at least 0 and not all 0; None weighs each with 1.
        label_smoothing: see `smoothed_cross_entropy`.
        sample_weights: one `(batch,)` per exit, see `smoothed_cross_entropy`; None for 1.

    Returns:
        `(total, exit_losses)`: a float32 scalar, and a list of one per exit, unweighted.

    Raises:
        InputError: `exit_weights` or `label_smoothing` out of range.
    """
    weights = check_exit_weights(exit_weights, len(logits_list))
    exit_losses = [
        smoothed_cross_entropy(labels, logits, label_smoothing, of_samples)
        for logits, of_samples in zip(
            logits_list, sample_weights or [None] * len(logits_list), strict=True
        )
    ]
    total = sum(weight * loss for weight, loss in zip(weights, exit_losses, strict=True))
    return total, exit_losses


def one_for_all_distillation(
    labels,
    logits_list,
    teacher_logits,
    *,
    alpha,
    temperature,
    exit_weights=None,
    label_smoothing=0.0,
    sample_weights=None,
):
    """The loss of One-for-all distillation (Li et al. 2019, section 3.3): the last exit teaches.

    Exit i < K: `α · CE + (1 − α) · T² · KL(teacher ‖ exit)`, both distributions at temperature T
    (Hinton et al. 2015, whose T² keeps the gradient's size); exit K: CE. Means over the batch, and
    the weighted sum over the exits.

    Args:
        labels: integers `(batch,)`.
        logits_list: one `(batch, classes)` per exit, computed on in float32.
        teacher_logits: `(batch, classes)`, which get no gradient.
        alpha: α, in [0, 1].
        temperature: T, above 0.
        exit_weights, label_smoothing, sample_weights: see `multi_exit_cross_entropy`; the last two
            are of CE.

    Returns:
        `(total, exit_losses)`: a float32 scalar, and a list of one per exit, unweighted.

    Raises:
        InputError: `alpha`, `temperature` or `exit_weights` out of range.
    """
    check_distillation(alpha, temperature)
    weights = check_exit_weights(exit_weights, len(logits_list))
    _, exit_losses = multi_exit_cross_entropy(
        labels, logits_list, label_smoothing=label_smoothing, sample_weights=sample_weights
    )
    teacher_logits = keras.ops.stop_gradient(keras.ops.cast(teacher_logits, "float32"))
    teacher = keras.ops.log_softmax(teacher_logits / temperature)
    for index, logits in enumerate(logits_list[:-1]):
        student = keras.ops.log_softmax(keras.ops.cast(logits, "float32") / temperature)
        divergence = keras.ops.sum(keras.ops.exp(teacher) * (teacher - student), axis=-1)
        exit_losses[index] = alpha * exit_losses[index] + (
            1 - alpha
        ) * temperature**2 * keras.ops.mean(divergence)
    total = sum(weight * loss for weight, loss in zip(weights, exit_losses, strict=True))
    return total, exit_losses


def leaving_weights(logits_list, share):
    """What a sample's loss counts at each exit: more at the exit that it would leave at.

    As in L2W-DEN (Han et al. 2022) an exit learns most of what it will be asked for; the weights
    are not learnt but have a closed form. In the batch, exit by exit, the surest 1/K of the
    samples leave (`exit_fractions` of p = 1), and the last exit takes the rest. A sample that
    leaves at exit k counts 1 − s + s · K there and 1 − s elsewhere, so that all exits together
    count what they do without.

    Args:
        logits_list: one `(batch, classes)` per exit.
        share: s, in [0, 1].

    Returns:
        List of float32 `(batch,)`, one per exit, which get no gradient.

    Raises:
        InputError: `share` out of range.
    """
    check_leaving_share(share)
    num_exits = len(logits_list)
    samples = keras.ops.shape(logits_list[0])[0]
    stays = keras.ops.ones((samples,), "float32")
    leaves = []
    for number, logits in enumerate(logits_list, start=1):
        if number == num_exits:
            leaves.append(stays)
            break
        logits = keras.ops.cast(keras.ops.stop_gradient(logits), "float32")
        # Of those that have left before, none is sure.
        confidences = stays * confidence_scores(logits) - (1 - stays)
        places = keras.ops.argsort(keras.ops.argsort(-confidences))
        leaves.append(keras.ops.cast(places < samples // num_exits, "float32"))
        stays = stays - leaves[-1]
    return [1 - share + share * num_exits * of_exit for of_exit in leaves]


def check_leaving_share(share):
    """Refuses a `leaving_share` outside [0, 1]."""
    if not 0 <= share <= 1:
        raise InputError(f"`leaving_share` must be in [0, 1]. Received: leaving_share={share}.")


def check_distillation(alpha, temperature):
    """Refuses an `alpha` outside [0, 1] and a `temperature` that is not finite and above 0."""
    if not 0 <= alpha <= 1:
        raise InputError(f"`alpha` must be in [0, 1]. Received: alpha={alpha}.")
    check_above_0("temperature", temperature)


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
