import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.cross_entropies import LABELS, cross_entropy, random_logits
from tf_adaptive.errors import InputError
from tf_adaptive.exits.losses import (
    leaving_weights,
    multi_exit_cross_entropy,
    one_for_all_distillation,
)


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


def test_distillation_by_the_formula():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 6)
    logits = generator.normal(size=(3, 6, 4)).astype("float32")
    teacher = generator.normal(size=(6, 4)).astype("float32")
    alpha, temperature = 0.3, 2.5

    def probabilities(values):
        exponentials = np.exp(values.astype("float64"))
        return exponentials / exponentials.sum(axis=-1, keepdims=True)

    cross_entropies = [-np.log(probabilities(exit)[np.arange(6), labels]).mean() for exit in logits]
    soft = probabilities(teacher / temperature)
    divergences = [
        (soft * np.log(soft / probabilities(exit / temperature))).sum(axis=-1).mean()
        for exit in logits
    ]
    expected = [
        alpha * cross_entropies[k] + (1 - alpha) * temperature**2 * divergences[k] for k in (0, 1)
    ]
    expected.append(cross_entropies[2])
    total, losses = one_for_all_distillation(
        labels, list(logits), teacher, alpha=alpha, temperature=temperature
    )
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert float(total) == pytest.approx(sum(expected), rel=1e-5)
    weighted, _ = one_for_all_distillation(
        labels, list(logits), teacher, alpha=alpha, temperature=temperature, exit_weights=[1, 0, 2]
    )
    assert float(weighted) == pytest.approx(expected[0] + 2 * expected[2], rel=1e-5)


def test_a_sample_counts_most_at_the_exit_it_would_leave_at():
    generator = np.random.default_rng(0)
    logits = 2 * generator.normal(size=(3, 7, 4)).astype("float32")
    exponentials = np.exp(logits)
    confidences = (exponentials / exponentials.sum(axis=-1, keepdims=True)).max(axis=-1)
    # Two of seven leave at each of the first two exits, the surest of those that are left.
    left, leaves = list(range(7)), np.zeros((3, 7))
    for exit in (0, 1):
        surest = sorted(left, key=lambda sample: -confidences[exit, sample])[:2]
        leaves[exit, surest] = 1
        left = [sample for sample in left if sample not in surest]
    leaves[2, left] = 1
    weights = np.array(leaving_weights(list(logits), 0.25))
    np.testing.assert_allclose(weights, 0.75 + 0.25 * 3 * leaves, rtol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=0), 3, rtol=1e-6)
    np.testing.assert_array_equal(leaving_weights(list(logits), 0.0), np.ones((3, 7)))
    labels = generator.integers(0, 4, 7)
    _, losses = multi_exit_cross_entropy(labels, list(logits), sample_weights=list(weights))
    of_samples = -np.log(exponentials / exponentials.sum(axis=-1, keepdims=True))
    of_samples = of_samples[:, np.arange(7), labels]
    np.testing.assert_allclose(losses, (weights * of_samples).mean(axis=1), rtol=1e-5)
    with pytest.raises(InputError, match="`leaving_share` must be in"):
        leaving_weights(list(logits), 1.5)


def test_weighing_has_no_gradient():
    logits = [tf.Variable([[1.0, 0.0], [0.3, 0.1]]), tf.Variable([[0.5, 0.1], [0.0, 0.2]])]
    with tf.GradientTape() as tape:
        total = tf.add_n([tf.reduce_sum(weights) for weights in leaving_weights(logits, 0.5)])
    assert tape.gradient(total, logits) == [None, None]


def test_the_teacher_gets_no_gradient():
    teacher = tf.Variable([[1.0, 0.0]])
    students = [tf.Variable([[0.5, 0.1]]), tf.Variable([[0.2, 0.1]])]
    with tf.GradientTape() as tape:
        loss, _ = one_for_all_distillation([0], students, teacher, alpha=0.0, temperature=3.0)
    of_teacher, of_student = tape.gradient(loss, [teacher, students[0]])
    assert of_teacher is None
    # T² makes up for the temperature: the gradient is T times that of the distributions' gap.
    gap = tf.nn.softmax(students[0] / 3.0) - tf.nn.softmax(teacher / 3.0)
    np.testing.assert_allclose(of_student, 3 * gap, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -0.1}, "`alpha` must be in \\[0, 1\\]. Received: alpha=-0.1"),
        ({"alpha": 1.1}, "`alpha` must be in"),
        ({"alpha": float("nan")}, "`alpha` must be in"),
        ({"temperature": 0.0}, "`temperature` must be finite and above 0"),
        ({"temperature": float("inf")}, "`temperature` must be finite and above 0"),
        ({"exit_weights": [1]}, "`exit_weights` must be 2 numbers"),
    ],
)
def test_distillation_refuses(settings, message):
    logits = [np.zeros((1, 2), "float32")] * 2
    with pytest.raises(InputError, match=message):
        one_for_all_distillation(
            [0], logits, logits[0], **{"alpha": 0.1, "temperature": 3.0, **settings}
        )
