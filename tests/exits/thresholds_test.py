import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from tf_adaptive.errors import InputError
from tf_adaptive.exits.thresholds import (
    MEASURES,
    NEVER,
    check_thresholds,
    choose_exits,
    confidence_scores,
    exit_fractions,
    thresholds_for_budget,
)


def expected_scores(logits, measure):
    probabilities = scipy.special.softmax(np.asarray(logits, "float64"), axis=-1)
    if measure == "max_probability":
        return probabilities.max(axis=-1)
    if measure == "entropy":
        classes = probabilities.shape[-1]
        return 1 - scipy.stats.entropy(probabilities, axis=-1, base=classes)
    ordered = np.sort(probabilities, axis=-1)
    return ordered[..., -1] - ordered[..., -2]


def search_in_words(confidences, fractions):
    """The search, sample by sample: thresholds and who left at each exit."""
    num_exits, num_samples = len(confidences), len(confidences[0])
    remaining = list(range(num_samples))
    thresholds, left = [], []
    for k in range(num_exits - 1):
        falling = sorted((confidences[k][n] for n in remaining), reverse=True)
        count = int(np.floor(num_samples * fractions[k]))
        if count == 0 or count > len(falling):
            thresholds.append(np.inf)
            left.append([])
            continue
        threshold = falling[count - 1]
        thresholds.append(threshold)
        left.append([n for n in remaining if confidences[k][n] >= threshold])
        remaining = [n for n in remaining if confidences[k][n] < threshold]
    return thresholds, left


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("shape", [(50, 2), (50, 10), (3, 20, 100)])
def test_confidence_scores_match_scipy(measure, shape):
    logits = 4 * np.random.default_rng(0).normal(size=shape).astype("float32")
    scores = confidence_scores(logits, measure)
    assert scores.dtype == tf.float32
    assert scores.shape == shape[:-1]
    np.testing.assert_allclose(scores, expected_scores(logits, measure), atol=1e-6)


@pytest.mark.parametrize("measure", MEASURES)
def test_confidence_scores_of_extreme_logits(measure):
    uniform = 1 / 5 if measure == "max_probability" else 0.0
    np.testing.assert_allclose(confidence_scores(np.zeros((1, 5)), measure), [uniform], atol=1e-6)
    huge = np.array([[3e38, -3e38, 0.0], [-1e30, 1e30, 1e29]], "float32")
    np.testing.assert_array_equal(confidence_scores(huge, measure), [1.0, 1.0])
    tie = np.array([[1e30, 1e30, -1e30]], "float32")
    np.testing.assert_allclose(
        confidence_scores(tie, measure), expected_scores([[0, 0, -np.inf]], measure), atol=1e-6
    )


@pytest.mark.parametrize("measure", MEASURES)
def test_confidence_scores_stay_in_the_unit_interval(measure):
    random = np.random.default_rng(1)
    for scale in (0.0, 1e-4, 1.0, 30.0, 1e4):
        scores = np.asarray(confidence_scores(scale * random.normal(size=(500, 7)), measure))
        assert scores.min() >= 0 and scores.max() <= 1


@pytest.mark.parametrize("measure", MEASURES)
def test_confidence_scores_compute_in_float32(measure):
    logits = tf.cast(np.random.default_rng(2).normal(size=(20, 10)) * 3, tf.bfloat16)
    scores = confidence_scores(logits, measure)
    assert scores.dtype == tf.float32
    np.testing.assert_array_equal(scores, confidence_scores(tf.cast(logits, tf.float32), measure))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_confidence_scores_have_the_same_bits_in_a_graph_and_in_any_batch(measure, classes):
    logits = 2 * np.random.default_rng(3).normal(size=(257, classes)).astype("float32")
    whole = np.asarray(confidence_scores(logits, measure))
    graph = tf.function(
        lambda logits: confidence_scores(logits, measure),
        input_signature=[tf.TensorSpec((None, classes), tf.float32)],
    )
    parts = [slice(first, first + 5) for first in range(0, 257, 5)]
    for part in [slice(0, 257), slice(7, 8), slice(43, 74), slice(100, 228), *parts]:
        np.testing.assert_array_equal(graph(logits[part]), whole[part])
        np.testing.assert_array_equal(confidence_scores(logits[part], measure), whole[part])


def test_confidence_scores_refuse_bad_input():
    with pytest.raises(InputError, match="`measure` must be one of.*Did you mean 'margin'"):
        confidence_scores(np.zeros((2, 3)), "margn")
    for shape in [(4, 1), ()]:
        with pytest.raises(InputError, match="at least 2 classes"):
            confidence_scores(np.zeros(shape))


def test_exit_fractions():
    np.testing.assert_allclose(exit_fractions(0.5, 3), [4 / 7, 2 / 7, 1 / 7])
    np.testing.assert_allclose(exit_fractions(1, 4), [0.25] * 4)
    np.testing.assert_allclose(exit_fractions(2, 2), [1 / 3, 2 / 3])


@pytest.mark.parametrize("p", [0, -0.5, np.nan, np.inf, 1e300])
def test_exit_fractions_refuse_bad_p(p):
    with pytest.raises(InputError, match="`p` must be a positive, finite number"):
        exit_fractions(p, 3)


def test_one_exit_takes_everybody():
    assert exit_fractions(0.5, 1).tolist() == [1.0]
    confidences = np.array([[0.3, 0.0, 1.0]], "float32")
    assert thresholds_for_budget(confidences, [1.0]).shape == (0,)
    assert choose_exits(confidences, []).tolist() == [1, 1, 1]


def test_exit_fractions_refuse_no_exit():
    with pytest.raises(InputError, match="`num_exits` must be at least 1"):
        exit_fractions(0.5, 0)


@pytest.mark.filterwarnings("ignore:exit . has a confidence of 1.0")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(150))
def test_thresholds_equal_the_search_in_words(seed, dtype):
    random = np.random.default_rng(seed)
    num_exits = random.integers(2, 8)
    num_samples = random.integers(1, 80)
    decimals = random.choice([1, 2, 6])
    # Rounding to one decimal gives many ties, exact 0 and exact 1 among them.
    confidences = random.random((num_exits, num_samples)).round(decimals).astype(dtype)
    fractions = exit_fractions(random.integers(1, 40) / 20, num_exits)
    if seed % 3 == 0:
        fractions = random.dirichlet(np.full(num_exits, 0.3))
    thresholds = thresholds_for_budget(confidences, fractions)
    expected, left = search_in_words(confidences, fractions)
    assert thresholds.dtype == dtype
    np.testing.assert_array_equal(thresholds, expected)

    exits = choose_exits(confidences, thresholds)
    for number, samples in enumerate(left, start=1):
        assert np.flatnonzero(exits == number).tolist() == samples


def test_thresholds_for_a_small_example():
    confidences = np.array(
        [[0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [0.1, 0.2, 0.3, 0.6, 0.6, 0.9], [0.5] * 6]
    )
    # Two leave at the first exit; of the other four, 0.9 and then both of 0.6 at the second.
    thresholds = thresholds_for_budget(confidences, [1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_array_equal(thresholds, [0.8, 0.6])
    np.testing.assert_array_equal(choose_exits(confidences, thresholds), [1, 1, 3, 2, 2, 2])


def test_an_exit_is_off_where_nobody_can_leave():
    # floor(4 · 0.2) is 0 at the first exit; ties empty the second; at the third none remain.
    confidences = np.array([[0.9] * 4, [0.5] * 4, [0.3] * 4, [0.3] * 4])
    thresholds = thresholds_for_budget(confidences, [0.2, 0.3, 0.3, 0.2])
    np.testing.assert_array_equal(thresholds, [NEVER, 0.5, NEVER])
    # Not even with a confidence that was rounded to 1.
    assert choose_exits([[1.0], [1.0], [0.3], [0.3]], thresholds).tolist() == [2]


def test_more_than_asked_that_leave_at_one_are_told():
    confidences = np.array([[1.0, 1.0, 1.0, 0.5], [0.9] * 4])
    with pytest.warns(UserWarning, match="exit 1 has a confidence of 1.0 in more images"):
        thresholds = thresholds_for_budget(confidences, [0.25, 0.75])
    np.testing.assert_array_equal(thresholds, [1.0])
    # As many as asked for are no news.
    thresholds_for_budget(confidences, [0.75, 0.25])


def test_thresholds_follow_floating_point_in_the_count():
    # In floats 100 · 0.29 is 28.999999999999996, so 28 leave.
    confidences = np.tile(np.linspace(1, 0.01, 100), (2, 1))
    threshold = thresholds_for_budget(confidences, [0.29, 0.71])
    assert threshold == confidences[0, 27]


def test_thresholds_refuse_bad_confidences():
    half = [0.5, 0.5]
    for confidences in (np.full(4, 0.5), np.full((0, 4), 0.5), 0.5):
        with pytest.raises(InputError, match=r"`confidences` must be \(exits, samples\)"):
            thresholds_for_budget(confidences, half)
    with pytest.raises(InputError, match="at least one sample"):
        thresholds_for_budget(np.zeros((2, 0)), half)
    for bad in (np.nan, -0.1, 1.1, np.inf):
        confidences = np.full((2, 4), 0.5)
        confidences[1, 2] = bad
        with pytest.raises(InputError, match=f"Received: {bad} at exit 2, sample 2"):
            thresholds_for_budget(confidences, half)
    with pytest.raises(InputError, match="`confidences` must be numbers in a regular array"):
        thresholds_for_budget([[0.5], [0.5, 0.5]], half)


def test_thresholds_refuse_bad_fractions():
    confidences = np.full((3, 4), 0.5)
    with pytest.raises(InputError, match="`fractions` must hold 3 numbers"):
        thresholds_for_budget(confidences, [0.5, 0.5])
    for fractions in ([0.5, 0.5, 0.5], [1.5, -0.5, 0.0], [np.nan, 0.5, 0.5], [np.inf, 0, 0]):
        with pytest.raises(InputError, match="must not be negative and must sum to 1"):
            thresholds_for_budget(confidences, fractions)


def test_choose_exits_takes_the_first_sure_exit():
    confidences = [[0.9, 0.2, 0.5, 0.0], [0.9, 0.9, 0.5, 0.0], [1.0, 1.0, 1.0, 1.0]]
    np.testing.assert_array_equal(choose_exits(confidences, [0.6, 0.5]), [1, 2, 2, 3])
    np.testing.assert_array_equal(choose_exits(confidences, [0.0, 0.0]), [1, 1, 1, 1])
    np.testing.assert_array_equal(choose_exits(confidences, [1.0, 1.0]), [3, 3, 3, 3])


def test_choose_exits_compares_in_float32():
    # float32(0.9) is below 0.9, yet a threshold given as 0.9 is the same float32.
    confidences = np.array([[0.9], [0.1]], "float32")
    assert confidences[0, 0] < np.float64(0.9)
    assert choose_exits(confidences, [0.9]) == [1]


def test_choose_exits_of_no_samples():
    assert choose_exits(np.zeros((3, 0)), [0.5, 0.5]).shape == (0,)


def test_check_thresholds():
    for thresholds in ([0, 1], (0.25, 0.5), np.array([0.9, 1.0])):
        checked = check_thresholds(thresholds, 3)
        assert checked.dtype == np.float32
        np.testing.assert_array_equal(checked, np.asarray(thresholds, "float32"))


@pytest.mark.parametrize("thresholds", [[0.5], [0.5] * 3, [], 0.5, [[0.5, 0.5]]])
def test_check_thresholds_refuses_wrong_lengths(thresholds):
    with pytest.raises(InputError, match="must hold 2 numbers, one for each of the 3 exits"):
        check_thresholds(thresholds, 3)


@pytest.mark.parametrize("bad", [np.nan, -0.01, 1.01, -np.inf])
def test_check_thresholds_refuses_values_outside_the_unit_interval(bad):
    with pytest.raises(InputError, match=r"must be numbers in \[0, 1\]"):
        check_thresholds([0.5, bad], 3)


@pytest.mark.parametrize("thresholds", ["half", ["a", "b"], [0.5, [0.5]]])
def test_check_thresholds_refuses_what_is_no_number(thresholds):
    with pytest.raises(InputError, match="`thresholds` must be numbers in a regular array"):
        check_thresholds(thresholds, 3)
