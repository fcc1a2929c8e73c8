import keras
import numpy as np
import pytest

from tf_adaptive.training.gradient_step import sgd
from tf_adaptive.training.phase_2_checks import (
    exit_above_last,
    exits_made_worse,
    largest_stable_rate,
)


@pytest.mark.parametrize("nesterov", [True, False])
def test_a_linear_exit_settles_at_the_rate_and_not_above_it(nesterov):
    # Labels that say nothing: the probabilities stay near a half, where the bound is met.
    features, labels = large_features()
    rate = largest_stable_rate(features, [8], momentum=0.9, nesterov=nesterov)
    assert rate < 0.02
    assert loss_after(features, labels, rate, nesterov=nesterov) < np.log(2)
    assert loss_after(features, labels, 1.3 * rate, nesterov=nesterov) > 1.1 * np.log(2)


def test_the_largest_features_of_any_exit_decide():
    features, _ = large_features()
    settings = {"momentum": 0.9, "nesterov": True}
    alone = largest_stable_rate(features, [8], **settings)
    beside = np.concatenate([0.01 * features[:, :3], features], axis=1)
    assert largest_stable_rate(beside, [3, 8], **settings) == alone


def test_rows_of_many_images_are_spread_over_all():
    small = np.tile(np.float32([0.1]), (30_000, 1))
    small[20_000:] = 10
    rate = largest_stable_rate(small, [1], momentum=0.0, nesterov=False)
    # E[x xᵀ] of (x, 1), a third of the images at x = 10: λ = 34.4; 2 / (λ / 2) = 0.116.
    assert rate == 0.11


def test_an_exit_better_than_the_last():
    labels = np.array([0, 1, 1])
    right, wrong = np.eye(2)[labels], np.eye(2)[1 - labels]
    assert exit_above_last(np.stack([wrong, right]), labels) is None
    assert exit_above_last(np.stack([right, right]), labels) is None
    assert exit_above_last(np.stack([wrong, right, wrong]), labels) == (2, 3, 0)


def test_exits_made_worse_by_more_than_noise():
    labels = np.zeros(100, int)
    before, after = np.zeros((2, 3, 100, 2))
    before[:, :10, 1] = after[:, :10, 1] = 1
    after[0, :13, 1] = 1  # three images of a hundred are noise
    after[1, :40, 1] = 1
    after[2, :10, 1] = 0  # better
    assert exits_made_worse(before, after, labels) == [(2, 90.0, 60.0)]


def large_features():
    """Features with a common part, as pooled ones have, and two classes drawn at random."""
    draw = np.random.default_rng(0)
    return draw.normal(10.0, 10.0, (512, 8)), draw.integers(2, size=512)


def loss_after(features, labels, rate, *, nesterov, steps=400):
    """The largest cross-entropy in the last tenth of so many steps of `sgd` on all images."""
    inputs, targets = np.c_[features, np.ones(len(features))], np.eye(2)[labels]
    weights = keras.Variable(np.random.default_rng(1).normal(size=(9, 2)) / 1000)
    optimizer = sgd(rate, momentum=0.9, nesterov=nesterov)
    losses = []
    for _ in range(steps):
        logits = inputs @ weights.numpy()
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        losses.append(-np.log((probabilities * targets).sum(axis=1) + 1e-30).mean())
        optimizer.apply([inputs.T @ (probabilities - targets) / len(inputs)], [weights])
    return max(losses[-steps // 10 :])
