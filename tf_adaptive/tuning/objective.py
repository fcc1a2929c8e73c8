"""One number for accuracy at a target cost."""

import itertools

# In points for 1 % above the target: where accuracy does not rise with cost, cost is still none
# that the target allows.
_LEAST_PENALTY = 0.01


def accuracy_at_target(accuracy_percent, mean_gflops, *, target_gflops, points_per_gflop):
    """Accuracy less what the cost above the target could have bought.

    accuracy − λ · max(0, mean cost − target): being cheaper than the target earns nothing.

    Args:
        accuracy_percent: top-1.
        mean_gflops: mean cost of an image.
        target_gflops: the cost wanted, in the same unit.
        points_per_gflop: λ, see `price_of_cost`.

    Returns:
        float, in percentage points.
    """
    return accuracy_percent - points_per_gflop * max(0.0, mean_gflops - target_gflops)


def price_of_cost(points, target_gflops):
    """The most accuracy that a GFLOP buys between neighbouring fixed resolutions.

    That is the steepest of the lines that join them, so no cost above the target pays for itself
    by merely moving along these. At least 0.01 points for 1 % of the target, where no line rises.

    Args:
        points: list of `Point`, of the classifier at each fixed resolution.
        target_gflops: the cost wanted.

    Returns:
        float, percentage points per GFLOP.
    """
    by_cost = sorted(points, key=lambda point: point.mean_gflops)
    slopes = [
        (dearer.accuracy_percent - cheaper.accuracy_percent)
        / (dearer.mean_gflops - cheaper.mean_gflops)
        for cheaper, dearer in itertools.pairwise(by_cost)
    ]
    return max(*slopes, 100 * _LEAST_PENALTY / target_gflops)
