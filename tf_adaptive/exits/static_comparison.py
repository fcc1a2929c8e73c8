"""Whether early exit beats networks with one exit that cost the same, on the same test images."""

import dataclasses

import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.exits.evaluation import confidences_of_exits
from tf_adaptive.exits.thresholds import choose_exits
from tf_adaptive.reports.logits import NORMAL_95, percent

WINS, LOSES, WITHIN_NOISE = "wins", "loses", "within noise"
CHEAPER = "cheaper than early exit can be"


@dataclasses.dataclass(frozen=True, eq=False)
class Classified:
    """A way to classify images, and which of the test images it gets right.

    Attributes:
        name: what it is, in words.
        macs: mean multiply-accumulates per image.
        right: for each test image 1 or 0, or between for a choice drawn at random: the mean of
            what it gives; `(samples,)`.
    """

    name: str
    macs: float
    right: np.ndarray

    @property
    def accuracy_percent(self):
        return percent(self.right)


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """A static network beside early exit at the same mean cost.

    Attributes:
        static: `Classified`.
        adaptive: `Classified`; None where early exit cannot be as cheap.
        low_points, high_points: 95 % interval of the points of accuracy that early exit is above
            the static network, from the images' differences; None without `adaptive`.
        verdict: of early exit: "wins" or "loses" where the interval is on one side of 0, else
            "within noise"; or "cheaper than early exit can be".
    """

    static: Classified
    adaptive: Classified | None
    low_points: float | None
    high_points: float | None
    verdict: str

    @property
    def difference_points(self):
        """Points of accuracy that early exit is above the static network."""
        if self.adaptive is None:
            return None
        return self.adaptive.accuracy_percent - self.static.accuracy_percent


def adaptive_curve(
    test_logits, test_labels, costs, budget_rows, measure="max_probability", temperatures=None
):
    """What a network with several exits can do, by cost.

    Args:
        test_logits: float `(exits, samples, classes)`.
        test_labels: integers `(samples,)`.
        costs: one row per exit with `.macs`.
        budget_rows: what `evaluation.at_thresholds` gave, whose thresholds are from other images.
        measure, temperatures: see `confidences_of_exits`, those of `budget_rows`.

    Returns:
        List of `Classified` in order of cost: all images at the first exit, each budget, all
        images at the last exit.
    """
    confidences = confidences_of_exits(test_logits, measure, temperatures)
    right = test_logits.argmax(axis=-1) == test_labels
    samples = np.arange(len(test_labels))
    points = [
        Classified(f"exit {number}", costs[number - 1].macs, right[number - 1])
        for number in (1, len(costs))
    ]
    for row in budget_rows:
        exits = choose_exits(confidences, row.thresholds)
        points.append(
            Classified(f"early exit, p = {row.p:g}", row.mean_macs, right[exits - 1, samples])
        )
    return sorted(points, key=lambda point: point.macs)


def static_line(networks):
    """The static networks that no two others beat, cheapest first: their upper left hull.

    An image sent at random to one of two networks costs and is right, in the mean, what lies on the
    line between them.

    Args:
        networks: list of `Classified`.

    Returns:
        List of `Classified`.
    """
    hull = []
    for network in sorted(networks, key=lambda other: (other.macs, -other.accuracy_percent)):
        if hull and network.accuracy_percent <= hull[-1].accuracy_percent:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-1], network):
            hull.pop()
        hull.append(network)
    return hull


def at_cost(points, macs):
    """What a line of `Classified` gives at a mean cost.

    Between two neighbours, an image goes to one of them at random; beyond the dearest, to it.

    Args:
        points: list of `Classified` in order of cost.
        macs: mean multiply-accumulates per image.

    Returns:
        A `Classified` of that cost, or of the dearest of `points` where that is below it; None
        where all cost more.
    """
    below = [point for point in points if point.macs <= macs]
    above = [point for point in points if point.macs > macs]
    if not below:
        return None
    first = below[-1]
    if not above or first.macs == macs:
        return first
    second = above[0]
    share = (macs - first.macs) / (second.macs - first.macs)
    return Classified(
        f"between {first.name} and {second.name}",
        macs,
        (1 - share) * first.right + share * second.right,
    )


def compare(static, adaptive):
    """A static network, or the line of several, beside early exit on the same images.

    The interval is that of a mean of paired differences, normal with the images' own deviation.

    Args:
        static: `Classified`.
        adaptive: `Classified`, None where early exit cannot be as cheap.

    Returns:
        `Comparison`.

    Raises:
        InputError: they are not of as many images.
    """
    if adaptive is None:
        return Comparison(static, None, None, None, CHEAPER)
    if len(static.right) != len(adaptive.right):
        raise InputError(
            "Networks that are compared must have classified the same images. "
            f"Received: {len(static.right)} and {len(adaptive.right)} images."
        )
    differences = 100 * (np.asarray(adaptive.right, "float64") - static.right)
    mean = differences.mean()
    margin = NORMAL_95 * differences.std() / np.sqrt(len(differences))
    low, high = float(mean - margin), float(mean + margin)
    verdict = WINS if low > 0 else LOSES if high < 0 else WITHIN_NOISE
    return Comparison(static, adaptive, low, high, verdict)


def compare_with_line(line, curve, macs):
    """The line of the static networks beside early exit, at the cost of an operating point.

    Args:
        line: what `static_line` gave.
        curve: what `adaptive_curve` gave.
        macs: the operating point's mean multiply-accumulates per image.

    Returns:
        `Comparison`, at the cost of the cheapest static network where all of them cost more.
    """
    macs = max(macs, line[0].macs)
    return compare(at_cost(line, macs), at_cost(curve, macs))


def verdict_sentence(comparisons, at_operating_point):
    """One sentence: whether early exit wins, loses, or nobody can tell.

    It loses where it is below the line of the static networks at its operating point, or below one
    of them at that network's cost, by more than noise; it wins where it is above the line at its
    operating point and loses nowhere.

    Args:
        comparisons: list of `Comparison`, one per static network.
        at_operating_point: what `compare_with_line` gave.
    """
    shown = at_operating_point
    judged = [at_operating_point, *comparisons]
    losses = [comparison for comparison in judged if comparison.verdict == LOSES]
    if losses:
        words = "The adaptive network loses to the static ones"
        shown = min(losses, key=lambda comparison: comparison.difference_points)
    elif shown.verdict == WINS:
        words = "The adaptive network wins against the static ones"
    else:
        words = "The adaptive network and the static ones are within noise of one another"
    return (
        f"{words}: at {shown.adaptive.macs / 1e6:.2f} M MACs an image it is "
        f"{shown.adaptive.accuracy_percent:.2f} % right, {shown.static.name} at "
        f"{shown.static.macs / 1e6:.2f} M MACs {shown.static.accuracy_percent:.2f} %, a difference "
        f"of {shown.difference_points:+.2f} points (95 % interval {shown.low_points:+.2f} to "
        f"{shown.high_points:+.2f}, {len(shown.static.right):,} images)."
    )


def comparison_table(comparisons, line):
    """The rows of `static_comparison.csv`: a dict from column to text or number per network.

    Args:
        comparisons: list of `Comparison`, one per static network.
        line: what `static_line` gave.
    """
    table = []
    for comparison in comparisons:
        adaptive = comparison.adaptive
        numbers = (comparison.difference_points, comparison.low_points, comparison.high_points)
        difference, low, high = ("" if n is None else f"{n:.4f}" for n in numbers)
        table.append(
            {
                "name": comparison.static.name,
                "macs": comparison.static.macs,
                "accuracy_percent": f"{comparison.static.accuracy_percent:.4f}",
                "on_line": "yes" if any(comparison.static is each for each in line) else "no",
                "adaptive_macs": "" if adaptive is None else round(adaptive.macs),
                "adaptive_accuracy_percent": ""
                if adaptive is None
                else f"{adaptive.accuracy_percent:.4f}",
                "difference_points": difference,
                "low_points": low,
                "high_points": high,
                "adaptive_network": comparison.verdict,
            }
        )
    return table


def _slope(first, second):
    rise = second.accuracy_percent - first.accuracy_percent
    return rise / (second.macs - first.macs)
