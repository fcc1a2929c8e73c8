from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.bounds import ROUNDING, apart
from tests.exits.budgets import budgeted
from tf_adaptive.errors import InputError
from tf_adaptive.exits.evaluation import (
    anytime,
    at_thresholds,
    cheapest_budget,
    confidences_of_exits,
)
from tf_adaptive.exits.thresholds import exit_fractions, thresholds_for_budget
from tf_adaptive.reports.logits import accuracy_interval, collect_logits

COSTS = [
    SimpleNamespace(macs=100, lazy_macs=80, parameters=10),
    SimpleNamespace(macs=250, lazy_macs=200, parameters=25),
    SimpleNamespace(macs=600, lazy_macs=600, parameters=70),
]


def two_exits(classes=4):
    images = keras.Input((6, 6, 1))
    features = keras.layers.Conv2D(3, 3, activation="relu")(images)
    early = keras.layers.Dense(classes)(keras.layers.Flatten()(features))
    features = keras.layers.BatchNormalization()(keras.layers.Conv2D(5, 3)(features))
    late = keras.layers.Dense(classes)(keras.layers.Flatten()(features))
    return keras.Model(images, [early, late])


def random_logits(num_exits, num_samples, num_classes, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, num_samples)
    logits = random.normal(size=(num_exits, num_samples, num_classes)).astype("float32")
    logits[:, np.arange(num_samples), labels] += np.linspace(1, 3, num_exits)[:, np.newaxis]
    return logits, labels


def test_collect_logits_equals_the_model_on_each_batch():
    random = np.random.default_rng(0)
    images = random.normal(size=(23, 6, 6, 1)).astype("float32")
    labels = random.integers(0, 4, 23).astype("int32")
    model = two_exits()
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(10)
    collected, collected_labels = collect_logits(model, batches)
    assert collected.shape == (2, 23, 4)
    assert collected.dtype == np.float32
    assert collected_labels.dtype == np.int64
    np.testing.assert_array_equal(collected_labels, labels)
    for k, expected in enumerate(model(images, training=False)):
        np.testing.assert_allclose(collected[k], expected, rtol=1e-5, atol=1e-6)


def test_collect_logits_traces_once_for_all_batch_sizes():
    traces = []

    class Counted(keras.layers.Layer):
        def call(self, features):
            traces.append(features.shape)
            return features

    images = keras.Input((5,))
    early = keras.layers.Dense(3)(Counted()(images))
    model = keras.Model(images, [early, keras.layers.Dense(3)(early)])
    traces.clear()
    batches = [(np.zeros((n, 5), "float32"), np.zeros(n, "int32")) for n in (4, 4, 3, 1)]
    logits, _ = collect_logits(model, batches)
    assert logits.shape == (2, 12, 3)
    assert len(traces) == 1


@pytest.mark.parametrize("in_a_list", [False, True])
def test_collect_logits_of_one_exit(in_a_list):
    images = keras.Input((5,))
    layer = keras.layers.Dense(3)
    model = keras.Model(images, [layer(images)] if in_a_list else layer(images))
    given = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    logits, labels = collect_logits(model, [(given[:4], [0, 1, 2, 0]), (given[4:], [1, 2])])
    assert logits.shape == (1, 6, 3)
    assert apart(logits[0], given @ layer.get_weights()[0]) < ROUNDING
    assert labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_one_exit_has_one_budget():
    logits, labels = random_logits(1, 50, 4, seed=7)
    (exit_row,) = anytime(logits, labels, COSTS[:1])
    (row,) = budgeted(logits[:, :20], logits, labels, COSTS[:1])
    assert (row.p, row.shares, row.thresholds) == (1.0, (1.0,), ())
    assert (row.mean_macs, row.mean_lazy_macs) == (COSTS[0].macs, COSTS[0].lazy_macs)
    assert row.accuracy_percent == exit_row.accuracy_percent
    assert exit_row.accuracy_percent == 100 * np.mean(logits[0].argmax(-1) == labels)


def test_collect_logits_refuses_bad_models_and_no_batches():
    images = keras.Input((5,))
    three, four = keras.layers.Dense(3)(images), keras.layers.Dense(4)(images)
    for outputs in ([three, four], [keras.layers.Reshape((3, 1))(three)]):
        with pytest.raises(InputError, match="outputs that are all .* the same class count"):
            collect_logits(keras.Model(images, outputs), [])
    more = keras.Input((3,))
    with pytest.raises(InputError, match="`model` must have one input"):
        collect_logits(keras.Model([images, more], [three, three + more]), [])
    with pytest.raises(InputError, match="`batches` must hold at least one batch"):
        collect_logits(keras.Model(images, [three, three]), [])


def test_anytime_counts_by_hand():
    logits = np.array(
        [
            [[3, 0], [3, 0], [3, 0], [3, 0]],
            [[3, 0], [0, 3], [3, 0], [3, 0]],
            [[3, 0], [0, 3], [0, 3], [0, 3]],
        ],
        "float32",
    )
    rows = anytime(logits, np.array([0, 1, 1, 1]), COSTS)
    assert [row.exit for row in rows] == [1, 2, 3]
    assert [row.accuracy_percent for row in rows] == [25.0, 50.0, 100.0]
    assert [row.macs for row in rows] == [100, 250, 600]
    assert [row.lazy_macs for row in rows] == [80, 200, 600]
    assert [row.parameters for row in rows] == [10, 25, 70]


def test_budgeted_counts_by_hand():
    # Probability of class 0 at the first exit: 0.9, 0.8, 0.7, 0.6; the second is always right.
    sure = np.log([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    right = np.array([[5, 0], [0, 5], [0, 5], [0, 5]])
    logits = np.array([sure, right], "float32")
    rows = budgeted(logits, logits, np.array([0, 1, 1, 1]), COSTS[:2])
    assert [row.p for row in rows[:3]] == [0.05, 0.1, 0.15]
    assert len(rows) == 39 and rows[-1].p == 1.95

    # p = 1: q is a half, two of four leave at the first exit, the second of them wrongly.
    row = rows[19]
    assert row.p == 1
    assert row.shares == (0.5, 0.5)
    assert row.accuracy_percent == 75.0
    assert row.mean_macs == (2 * 100 + 2 * 250) / 4
    assert row.mean_lazy_macs == (2 * 80 + 2 * 200) / 4
    np.testing.assert_allclose(row.thresholds, [0.8], rtol=1e-6)

    # p = 39/20: q is 1 / 2.95, so one leaves, rightly.
    assert rows[-1].shares == (0.25, 0.75)
    assert rows[-1].accuracy_percent == 100.0
    assert rows[-1].mean_macs == 212  # 212.5 to the even number

    # Without labels, right in validation is what the last exit says; with them, the label.
    assert row.calibration_accuracy_percent == 75.0
    assert row.calibration_mean_macs == row.mean_macs
    labels = np.array([0, 0, 1, 1])
    row = budgeted(logits, logits, labels, COSTS[:2], validation_labels=labels)[19]
    assert row.calibration_accuracy_percent == 100.0
    last = anytime(logits, labels, COSTS[:2], calibration_logits=logits, calibration_labels=labels)
    assert [row.calibration_accuracy_percent for row in last] == [50.0, 75.0]
    with pytest.raises(InputError, match="Labels must be 4 integers"):
        budgeted(logits, logits, labels, COSTS[:2], validation_labels=labels[:3])


@pytest.mark.parametrize("measure", ["max_probability", "entropy", "margin"])
def test_budgeted_equals_a_sample_by_sample_simulation(measure):
    validation_logits, _ = random_logits(3, 101, 5, seed=1)
    test_logits, labels = random_logits(3, 57, 5, seed=2)
    validation = confidences_of_exits(validation_logits, measure)
    test = confidences_of_exits(test_logits, measure)
    for row in budgeted(validation_logits, test_logits, labels, COSTS, measure)[::6]:
        thresholds = thresholds_for_budget(validation, exit_fractions(row.p, 3))
        np.testing.assert_array_equal(row.thresholds, thresholds)
        macs, lazy_macs, right, left = 0, 0, 0, [0, 0, 0]
        for n, label in enumerate(labels):
            k = 0
            while k < 2 and test[k, n] < thresholds[k]:
                k += 1
            left[k] += 1
            macs += COSTS[k].macs
            lazy_macs += COSTS[k].lazy_macs
            right += int(test_logits[k, n].argmax() == label)
        assert row.mean_macs == round(macs / 57)
        assert row.mean_lazy_macs == round(lazy_macs / 57)
        assert row.accuracy_percent == pytest.approx(100 * right / 57)
        assert row.shares == pytest.approx([count / 57 for count in left])
        assert sum(row.shares) == pytest.approx(1)


def test_budgets_grow_dearer_with_p():
    logits, labels = random_logits(3, 2000, 5, seed=3)
    macs = [row.mean_macs for row in budgeted(logits, logits, labels, COSTS)]
    assert macs == sorted(macs)
    assert macs[0] < 150 and macs[-1] > 400


def test_cheapest_budget():
    rows = [
        SimpleNamespace(calibration_mean_macs=macs, calibration_accuracy_percent=percent)
        for macs, percent in ((300, 92.0), (200, 91.0), (100, 80.0))
    ]
    assert cheapest_budget(rows, 90.5) is rows[1]
    assert cheapest_budget(rows, 91.0) is rows[1]
    assert cheapest_budget(rows, 50.0) is rows[2]
    assert cheapest_budget(rows, 95.0) is rows[0]


def test_evaluation_refuses_bad_input():
    logits, labels = random_logits(3, 20, 4, seed=4)
    with pytest.raises(InputError, match=r"`logits` must be \(exits, samples, classes\)"):
        anytime(logits[0], labels, COSTS)
    with pytest.raises(InputError, match="at least 1 exits"):
        anytime(logits[:0], labels, COSTS[:0])
    with pytest.raises(InputError, match="Labels must be 20 integers"):
        anytime(logits, labels[:-1], COSTS)
    with pytest.raises(InputError, match="Labels must be 20 integers"):
        anytime(logits, labels.astype("float32"), COSTS)
    with pytest.raises(InputError, match=r"Labels must be in \[0, 4\).*from 4 to 4"):
        anytime(logits, np.full(20, 4), COSTS)
    with pytest.raises(InputError, match="`costs` must hold a row for each of the 3 exits"):
        budgeted(logits, logits, labels, COSTS[:2])
    with pytest.raises(InputError, match="exits and classes of `test_logits`"):
        budgeted(logits[..., :3], logits, labels, COSTS)
    with pytest.raises(InputError, match="Did you mean 'entropy'"):
        budgeted(logits, logits, labels, COSTS, measure="entropi")
    broken = logits.copy()
    broken[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="`calibration_logits` must be finite.*Received: 1 that"):
        at_thresholds([], broken, logits, labels, COSTS)
    with pytest.raises(InputError, match="`test_logits` must be finite"):
        budgeted(logits, broken, labels, COSTS)


@pytest.mark.parametrize(
    ("accuracy", "samples", "low", "high"),
    # By the formula in Newcombe 1998, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 29 of 29.
    [
        (100 * 81 / 263, 263, 25.53, 36.62),
        (100 * 15 / 148, 148, 6.24, 16.05),
        (0.0, 20, 0.0, 16.11),
        (100.0, 29, 88.30, 100.0),
    ],
)
def test_intervals_of_accuracies(accuracy, samples, low, high):
    np.testing.assert_allclose(accuracy_interval(accuracy, samples), (low, high), atol=0.006)
