"""What phase II can go wrong in: a rate too high, a teacher too poor, exits made worse."""

import numpy as np

from tf_adaptive.exits.static_comparison import LOSES, Classified, compare

# Images that the features' second moments are taken from.
MOMENTS_IMAGES = 10_000


def largest_stable_rate(features, widths, *, momentum, nesterov):
    """The highest learning rate at which linear exits on such features are sure to settle.

    The cross-entropy of a linear layer on features x curves at most by L = λ / 2, λ the largest
    eigenvalue of E[x xᵀ] (Böhning 1992), and so does distillation, whose factor T² makes up for
    its temperature. Gradient descent with momentum β is stable on such a curve up to a rate of
    2 (1 + β) / L, in Nesterov's form up to 2 (1 + β) / ((1 + 2β) L). Above it the exits may grow
    without end where the features are large, as they are after a short phase I.

    Args:
        features: float `(images, features)`, all exits' side by side, of `MOMENTS_IMAGES` or fewer.
        widths: the number of features of each exit.
        momentum, nesterov: see `sgd`.

    Returns:
        The rate that suits all exits, with two digits, rounded down.
    """
    curvatures = []
    for part in np.split(np.asarray(features, "float64"), np.cumsum(widths)[:-1], axis=1):
        with_bias = np.concatenate([part, np.ones((len(part), 1))], axis=1)
        moments = with_bias.T @ with_bias / len(with_bias)
        curvatures.append(np.linalg.eigvalsh(moments)[-1] / 2)
    rate = 2 * (1 + momentum) / max(curvatures)
    if nesterov:
        rate /= 1 + 2 * momentum
    digit = 10.0 ** (np.floor(np.log10(rate)) - 1)
    return float(f"{np.floor(rate / digit) * digit:.1e}")


def exit_above_last(logits, labels):
    """The exit that is right for most images, where that is not the last one.

    Args:
        logits: `(exits, images, classes)`.
        labels: integers `(images,)`.

    Returns:
        None, or `(exit, right, right_last)`: the exit from 1, and for how many images it and the
        last one are right.
    """
    right = np.count_nonzero(logits.argmax(axis=-1) == labels, axis=-1)
    if right[-1] == right.max():
        return None
    return int(right.argmax()) + 1, int(right.max()), int(right[-1])


def exits_made_worse(before, after, labels):
    """The exits that are right for fewer images than they were, by more than noise explains.

    Args:
        before, after: logits `(exits, images, classes)`.
        labels: integers `(images,)`.

    Returns:
        List of `(exit, percent before, percent after)`, exits from 1.
    """
    worse = []
    for number, pair in enumerate(zip(before, after, strict=True), start=1):
        was, became = (
            Classified(f"exit {number}", 0, logits.argmax(axis=-1) == labels) for logits in pair
        )
        if compare(was, became).verdict == LOSES:
            worse.append((number, was.accuracy_percent, became.accuracy_percent))
    return worse
