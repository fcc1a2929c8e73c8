from types import SimpleNamespace

import numpy as np
import pytest

from tests.exits.budgets import budgeted
from tf_adaptive import InputError
from tf_adaptive.exits.static_comparison import (
    Classified,
    adaptive_curve,
    at_cost,
    compare,
    compare_with_line,
    comparison_table,
    static_line,
    verdict_sentence,
)

SAMPLES = 400


def network(name, macs, accuracy, seed=0):
    """One that gets this share of the images right, which ones at random."""
    right = np.random.default_rng(seed).permutation(SAMPLES) < accuracy * SAMPLES
    return Classified(name, macs, right)


def test_line_is_the_upper_left_hull():
    best = [network("a", 100, 0.5), network("b", 200, 0.7), network("c", 400, 0.8)]
    beaten = [
        network("below b", 200, 0.6),
        network("below a to b", 150, 0.55),
        network("dearer than c", 500, 0.8),
        network("below b to c", 300, 0.74),
    ]
    for networks in (best + beaten, beaten[::-1] + best[::-1]):
        assert static_line(networks) == best
    assert static_line(best[:1]) == best[:1]


def test_between_two_networks_images_go_to_one_at_random():
    line = [network("a", 100, 0.5, seed=1), network("b", 300, 0.9, seed=2)]
    between = at_cost(line, 150)
    np.testing.assert_allclose(between.right, 0.75 * line[0].right + 0.25 * line[1].right)
    assert between.accuracy_percent == pytest.approx(60)
    assert between.macs == 150
    assert at_cost(line, 100) is line[0]
    assert at_cost(line, 301) is line[1]
    assert at_cost(line, 99) is None


def test_interval_is_that_of_paired_differences():
    adaptive, static = network("adaptive", 100, 0.9, seed=1), network("static", 100, 0.8, seed=2)
    comparison = compare(static, adaptive)
    # By hand: images that only one of the two gets right.
    only_adaptive = np.sum(adaptive.right & ~static.right)
    only_static = np.sum(static.right & ~adaptive.right)
    difference = (only_adaptive - only_static) / SAMPLES
    deviation = np.sqrt((only_adaptive + only_static) / SAMPLES - difference**2)
    margin = 196 * deviation / np.sqrt(SAMPLES)
    assert comparison.difference_points == pytest.approx(100 * difference)
    assert comparison.low_points == pytest.approx(100 * difference - margin)
    assert comparison.high_points == pytest.approx(100 * difference + margin)


def test_interval_holds_the_true_difference_in_95_of_100():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        both = generator.random(SAMPLES) < 0.6
        ours = both | (generator.random(SAMPLES) < 0.5)
        theirs = both | (generator.random(SAMPLES) < 0.4)
        comparison = compare(Classified("static", 1, theirs), Classified("adaptive", 1, ours))
        # 0.4 of the images are right at random.
        held += comparison.low_points <= 100 * 0.4 * (0.5 - 0.4) <= comparison.high_points
    assert 930 <= held <= 970


def test_verdicts():
    worse, better = network("worse", 100, 0.6), network("better", 100, 0.9, seed=3)
    assert compare(worse, better).verdict == "wins"
    assert compare(better, worse).verdict == "loses"
    assert compare(worse, network("as good", 100, 0.61, seed=4)).verdict == "within noise"
    assert compare(worse, worse).verdict == "within noise"
    none = compare(worse, None)
    assert none.verdict == "cheaper than early exit can be"
    assert none.difference_points is None
    with pytest.raises(InputError, match="the same images. Received: 400 and 3 images"):
        compare(worse, Classified("fewer", 1, np.ones(3)))


def curve(*accuracies):
    return [network(f"p{k}", 100 * k, a, seed=10 + k) for k, a in enumerate(accuracies, start=1)]


def judged(static, points, macs):
    line = static_line(static)
    comparisons = [compare(each, at_cost(points, each.macs)) for each in static]
    return comparisons, compare_with_line(line, points, macs)


def test_below_the_line_is_said_to_lose():
    static = [network("small", 50, 0.5), network("wide", 300, 0.9)]
    comparisons, at_point = judged(static, curve(0.5, 0.6, 0.7), 200)
    # The line at 200: 0.5 + 0.4 · 150 / 250.
    assert at_point.static.accuracy_percent == pytest.approx(74)
    assert at_point.verdict == "loses"
    sentence = verdict_sentence(comparisons, at_point)
    # The worst of the losses: against the network itself.
    assert sentence.startswith(
        "The adaptive network loses to the static ones: at 0.00 M MACs an image it is 70.00 % "
        "right, wide at 0.00 M MACs 90.00 %, a difference of -20.00 points (95 % interval -"
    )
    assert sentence.endswith("400 images).")


def test_above_the_line_wins_and_near_it_nobody_can_tell():
    static = [network("small", 50, 0.5), network("wide", 300, 0.7)]
    comparisons, at_point = judged(static, curve(0.8, 0.85, 0.9), 200)
    assert "The adaptive network wins against the static ones" in verdict_sentence(
        comparisons, at_point
    )
    comparisons, at_point = judged(static, curve(0.5, 0.62, 0.7), 200)
    assert "are within noise of one another" in verdict_sentence(comparisons, at_point)


def test_where_all_static_networks_cost_more():
    static = [network("wide", 300, 0.9)]
    _, at_point = judged(static, curve(0.5, 0.6, 0.9), 100)
    # Cheaper and less right is not worse: they are compared at the cost of the network.
    assert (at_point.static.name, at_point.adaptive.name) == ("wide", "p3")
    assert at_point.verdict == "within noise"


def test_table():
    static = [network("small", 50, 0.5), network("wide", 300, 0.9), network("bad", 310, 0.4)]
    comparisons, _ = judged(static, curve(0.5, 0.6, 0.7), 200)
    small, wide, bad = comparison_table(comparisons, static_line(static))
    assert small["adaptive_accuracy_percent"] == small["difference_points"] == ""
    assert wide["difference_points"] == "-20.0000"
    assert (wide["adaptive_macs"], wide["adaptive_network"]) == (300, "loses")
    assert (wide["on_line"], bad["on_line"]) == ("yes", "no")
    assert (bad["adaptive_network"], bad["accuracy_percent"]) == ("wins", "40.0000")


def test_curve_is_that_of_the_budgets():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, SAMPLES)
    logits = generator.normal(size=(3, SAMPLES, 4)).astype("float32")
    logits[:, np.arange(SAMPLES), labels] += np.array([[1], [2], [4]])
    costs = [SimpleNamespace(macs=k * 100, lazy_macs=k * 90) for k in (1, 2, 4)]
    rows = budgeted(logits[:, :200], logits[:, 200:], labels[200:], costs, "margin")
    points = adaptive_curve(logits[:, 200:], labels[200:], costs, rows, "margin")
    assert len(points) == len(rows) + 2
    assert [point.macs for point in points] == sorted(point.macs for point in points)
    assert (points[0].name, points[-1].name) == ("exit 1", "exit 3")
    by_name = {point.name: point for point in points}
    for row in rows:
        point = by_name[f"early exit, p = {row.p:g}"]
        assert (point.macs, point.accuracy_percent) == (row.mean_macs, row.accuracy_percent)
