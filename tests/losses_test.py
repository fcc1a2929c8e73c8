import keras
import numpy as np
import pytest

from tf_adaptive.errors import InputError
from tf_adaptive.losses import multi_exit_cross_entropy

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


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, [0.5, 0.0, 2.0]])
def test_loss_matches_numpy(weights, smoothing):
    logits = random_logits()
    total, exit_losses = multi_exit_cross_entropy(LABELS, list(logits), weights, smoothing)
    expected = [cross_entropy(exit, smoothing) for exit in logits]
    np.testing.assert_allclose(exit_losses, expected, rtol=1e-5)
    np.testing.assert_allclose(total, np.dot(weights or [1, 1, 1], expected), rtol=1e-5)


def test_half_precision_logits_give_a_float32_loss():
    logits = [keras.ops.cast(exit, "bfloat16") for exit in random_logits()]
    total, exit_losses = multi_exit_cross_entropy(LABELS, logits)
    assert [keras.backend.standardize_dtype(loss.dtype) for loss in [total, *exit_losses]] == [
        "float32"
    ] * 4
    rounded = [np.asarray(keras.ops.cast(exit, "float32")) for exit in logits]
    expected = [cross_entropy(exit, 0.0) for exit in rounded]
    np.testing.assert_allclose(exit_losses, expected, rtol=1e-5)


@pytest.mark.parametrize("weights", [[1.0], [1.0] * 4, 1.0, [[1.0], [1.0], [1.0]]])
def test_wrong_number_of_weights(weights):
    with pytest.raises(InputError, match="`exit_weights` must be 3 numbers"):
        multi_exit_cross_entropy(LABELS, list(random_logits()), weights)


@pytest.mark.parametrize("weights", [[1, -1, 1], [0, 0, 0], [1, np.nan, 1], [1, np.inf, 1]])
def test_weights_out_of_range(weights):
    with pytest.raises(InputError, match="`exit_weights` must be finite, at least 0 and not all"):
        multi_exit_cross_entropy(LABELS, list(random_logits()), weights)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, np.nan])
def test_label_smoothing_out_of_range(smoothing):
    with pytest.raises(InputError, match="`label_smoothing` must be at least 0 and below 1"):
        multi_exit_cross_entropy(LABELS, list(random_logits()), label_smoothing=smoothing)
