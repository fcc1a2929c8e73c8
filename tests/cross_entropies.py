"""Cross-entropy straight from its definition, and logits to try losses with."""

import numpy as np

LABELS = np.array([0, 2, 1, 2])


def random_logits(num_exits=3, classes=4):
    return np.random.default_rng(0).normal(size=(num_exits, 4, classes)).astype("float32") * 3


def cross_entropy(logits, smoothing):
    """Straight from the definition, in float64."""
    exponentials = np.exp(logits.astype("float64"))
    probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)
    losses = []
    for row, label in zip(probabilities, LABELS, strict=True):
        targets = np.full(len(row), smoothing / len(row))
        targets[label] += 1 - smoothing
        losses.append(-(targets * np.log(row)).sum())
    return np.mean(losses)
