import numpy as np
import pytest
import tensorflow as tf

from tests.cross_entropies import LABELS, cross_entropy, random_logits
from tf_adaptive.errors import InputError
from tf_adaptive.routing.losses import flops_loss, flops_regularized_cross_entropy

GFLOPS = (4.1, 2.4, 1.1)


def test_flops_loss_matches_numpy():
    one_hot = np.eye(3, dtype="float32")[[0, 0, 1, 2, 0]]
    mean = (3 * 4.1 + 2.4 + 1.1) / 5
    np.testing.assert_allclose(
        flops_loss(one_hot, GFLOPS, 2.0), (mean - 2.0) / (4.1 - 1.1), rtol=1e-5
    )


def test_flops_loss_is_0_below_the_target_and_1_at_most():
    assert flops_loss(np.eye(3, dtype="float32")[[2, 2, 1]], GFLOPS, 2.0) == 0
    np.testing.assert_allclose(flops_loss(np.eye(3, dtype="float32")[[0]], GFLOPS, 1.1), 1)


def test_gradient_of_the_flops_loss_is_the_cost():
    one_hot = tf.Variable(np.eye(3, dtype="float32")[[0, 1]])
    with tf.GradientTape() as tape:
        loss = flops_loss(one_hot, GFLOPS, 1.5)
    expected = np.tile(np.array(GFLOPS) / 2 / 3.0, (2, 1))
    np.testing.assert_allclose(tape.gradient(loss, one_hot), expected, rtol=1e-5)


@pytest.mark.parametrize("target", [1.0, 4.2, -1.0, np.nan])
def test_target_out_of_reach(target):
    with pytest.raises(InputError, match="`target_gflops` must be from 1.1 to 4.1, .* Received"):
        flops_loss(np.eye(3, dtype="float32"), GFLOPS, target)


@pytest.mark.parametrize("gflops", [(2.0, 2.0, 2.0), (2.0,), 2.0, (1.0, np.nan, 2.0)])
def test_costs_that_cannot_be_told_apart(gflops):
    with pytest.raises(InputError, match="`branch_gflops` must be two different costs or more"):
        flops_loss(np.eye(3, dtype="float32"), gflops, 2.0)


def test_wrong_number_of_costs():
    with pytest.raises(InputError, match="`branch_gflops` must be 3 costs, one per candidate"):
        flops_loss(np.eye(3, dtype="float32"), (4.1, 1.1), 2.0)


def test_drnets_loss_is_cross_entropy_and_weighted_flops_loss():
    logits, one_hot = random_logits(1)[0], np.eye(3, dtype="float32")[[0, 0, 1, 2]]
    costs = {"branch_gflops": GFLOPS, "target_gflops": 2.0}
    loss = flops_regularized_cross_entropy(
        LABELS, logits, one_hot, **costs, flops_weight=0.5, label_smoothing=0.1
    )
    expected = cross_entropy(logits, 0.1) + 0.5 * float(flops_loss(one_hot, *costs.values()))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("weight", [-0.1, np.nan, np.inf])
def test_flops_weight_out_of_range(weight):
    costs = {"branch_gflops": GFLOPS, "target_gflops": 2.0}
    with pytest.raises(InputError, match="`flops_weight` must be finite and at least 0. Received"):
        flops_regularized_cross_entropy(
            LABELS, random_logits(1)[0], np.eye(3)[[0] * 4], **costs, flops_weight=weight
        )
