import re

import numpy as np
import pytest

from savedmodels.site.points import operating_points
from tf_adaptive.exits.operating_point import OperatingPoint
from tf_adaptive.exits.promise import Promise
from tf_adaptive.exits.thresholds import NEVER

THRESHOLDS = np.float32([0.9, 0.8])


def by_hand(thresholds, **fields):
    return OperatingPoint(np.float32(thresholds), "max_probability", "given by hand", **fields)


def test_without_a_promise_the_doubt_is_scaled_and_nothing_is_said_of_what_that_gives():
    points = operating_points(by_hand(THRESHOLDS, accuracy_percent=91.5, mean_macs=4_000_000))
    doubts = 1 - np.float32(points.thresholds[1:-1])
    factors = np.float32([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8])
    expected = np.minimum(1, factors[:, None] * np.float32([0.1, 0.2]))
    np.testing.assert_allclose(doubts, expected, atol=1e-6)
    assert np.all(points.thresholds[0] == NEVER)
    assert np.all(points.thresholds[-1] == 0)
    np.testing.assert_array_equal(points.thresholds[points.chosen], THRESHOLDS)
    for place, words in enumerate(points.words):
        assert ("Nobody has measured" in words) == (place not in (0, points.chosen))
    assert points.words[points.chosen] == (
        "Given by hand. Measured on test images: 91.50 % right, at 4.00 million MACs an image on "
        "average."
    )
    assert points.words[4].startswith("Half the doubt")


def test_with_a_promise_the_slider_ends_at_it():
    family = tuple(
        (np.float32(thresholds), disagreement)
        for thresholds, disagreement in (
            ([0.99, 0.98], 0.00221),
            # Tested after the one before, which keeps no smaller bound.
            ([0.95, 0.9], 0.0018),
            (THRESHOLDS, 0.008),
        )
    )
    promise = Promise(0.01, 0.95, "accuracy_gap", 5000)
    points = operating_points(by_hand(THRESHOLDS, promise=promise, family=family))
    assert points.chosen == 3 == len(points.thresholds) - 1
    np.testing.assert_array_equal(points.thresholds[1:], [each for each, _ in family])
    assert points.words[3] == promise.words()
    for words in points.words[1:3]:
        assert re.search(r"differs on at most ([0-9.]+) %", words)[1] == "0.23"
        assert "95 % confidence by 5,000 images" in words


@pytest.mark.parametrize("thresholds", [[], [NEVER, NEVER]])
def test_where_nothing_leaves_early_there_is_one_point(thresholds):
    points = operating_points(by_hand(thresholds))
    assert len(points.thresholds) == len(points.words) == 1
    assert points.thresholds[0].shape == (len(thresholds),)


def test_exits_that_nothing_leaves_at_stay_so():
    points = operating_points(by_hand([0.9, NEVER]))
    assert all(each[1] == NEVER for each in points.thresholds[:-1])
    assert all(np.isfinite(each[0]) for each in points.thresholds[1:])
