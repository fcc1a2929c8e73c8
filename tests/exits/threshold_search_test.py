import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from tf_adaptive.exits.evaluation import (
    at_thresholds,
    confidences_of_exits,
    of_exits,
    searched,
    sweep,
)
from tf_adaptive.exits.threshold_search import search_thresholds
from tf_adaptive.exits.thresholds import NEVER, choose_exits

MACS = [10, 25, 60]


def random_logits(num_samples, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, num_samples)
    logits = random.normal(size=(3, num_samples, 4)).astype("float32")
    logits[:, np.arange(num_samples), labels] += np.array([[1], [2], [3]])
    return logits, labels


def cost_and_errors(thresholds, confidences, right):
    exits = choose_exits(confidences, thresholds)
    return np.array(MACS)[exits - 1].mean(), np.count_nonzero(~of_exits(right, exits))


@pytest.mark.parametrize("seed", range(4))
def test_finds_what_trying_all_thresholds_finds(seed):
    logits, labels = random_logits(14, seed)
    confidences = confidences_of_exits(logits)
    right = logits.argmax(-1) == labels
    tried = [
        cost_and_errors(thresholds, confidences, right)
        for thresholds in itertools.product(*([*each, NEVER] for each in confidences[:-1]))
    ]
    found = [
        cost_and_errors(thresholds, confidences, right)
        for thresholds in search_thresholds(confidences, right, MACS, [[NEVER, NEVER]])
    ]
    for weight in (0.1, 1.0, 10.0, 100.0, 1000.0):
        best = min(cost + weight * errors for cost, errors in tried)
        ours = min(cost + weight * errors for cost, errors in found)
        # One threshold after another may end beside the best of all, but not far.
        assert ours <= 1.05 * best
    assert found == sorted(found, key=lambda each: (each[0], -each[1]))
    assert len({errors for _, errors in found}) == len(found)


@pytest.mark.parametrize("measure", ["max_probability", "margin"])
def test_is_never_worse_than_the_sweep_on_its_samples(measure):
    logits, labels = random_logits(400, seed=9)
    costs = [SimpleNamespace(macs=macs, lazy_macs=macs) for macs in MACS]

    def rows(family):
        return at_thresholds(
            family, logits, logits, labels, costs, measure, calibration_labels=labels
        )

    ours = rows((None, each) for each in searched(logits, labels, costs, measure))
    for row in rows(sweep(logits, measure).items()):
        at_most = [
            other.mean_macs for other in ours if other.accuracy_percent >= row.accuracy_percent
        ]
        assert min(at_most) <= row.mean_macs
    assert len(ours) > 5


def test_samples_of_equal_confidence_leave_together():
    confidences = np.float32([[0.9, 0.9, 0.9, 0.5], [1, 1, 1, 1]])
    right = np.array([[True, True, False, True], [True, True, True, True]])
    found = search_thresholds(confidences, right, [1, 2], [[NEVER]])
    assert {float(thresholds[0]) for thresholds in found} <= {0.9, 0.5, np.inf}


def test_without_labels_and_with_one_exit():
    logits, _ = random_logits(50, seed=1)
    costs = [SimpleNamespace(macs=macs) for macs in MACS]
    assert len(searched(logits, None, costs)) > 1
    (only,) = searched(logits[:1], None, costs[:1])
    assert only.shape == (0,)
