"""Thresholds of all exits searched jointly: the least cost at each number of errors."""

import numpy as np

from tf_adaptive.exits.thresholds import NEVER, choose_exits

# What an error weighs, in passes through the whole network.
_ERROR_WEIGHTS = np.geomspace(1e-2, 1e4, 120)

# Errors are sums of thousands of parts.
_ROUNDING = 1e-12

# Rounds over the exits; a search ends where one changes nothing.
_MOST_ROUNDS = 20


def search_thresholds(confidences, right, macs, starts):
    """Thresholds of which none of the others are both as cheap and as right.

    For each weight of an error, from one that hardly matters to one that nothing makes up for, the
    thresholds are set one after another, the last exit's first, each to the best of all its values
    while the others stay (an exact search: samples in order of confidence, sums of costs and
    errors), until none changes. What one weight found, and the best start, begin the next. Then
    each start, and each of those found, is made as cheap in the same way as its number of errors
    allows, which also finds what lies between the best at two weights.

    Args:
        confidences: `(exits, samples)`, floats in [0, 1].
        right: bool `(exits, samples)`, whether each exit is right.
        macs: `(exits,)`, multiply-accumulates up to each exit.
        starts: list of thresholds `(exits - 1,)`; the result is never worse than they are.

    Returns:
        List of float32 `(exits - 1,)`, from the cheapest to the dearest, with ever fewer errors.
    """
    # By float32 as samples leave, so that a threshold's samples are those of the search.
    search = _Search(np.asarray(confidences, "float32"), right, macs)
    found = [np.asarray(start, "float32") for start in starts]
    weighed = [search.cost_and_errors(start) for start in found]

    def keep(thresholds):
        found.append(thresholds)
        weighed.append(search.cost_and_errors(thresholds))

    thresholds = found[0]
    for weight in _ERROR_WEIGHTS:
        best = min(range(len(found)), key=lambda place: weighed[place] @ (1, weight))
        # Both: what the last weight led to may lie in another valley than the best so far.
        for start in (thresholds, found[best]):
            thresholds = search.descend(start, weight, most_errors=np.inf)
            keep(thresholds)
    for place in [*range(len(starts)), *_not_dominated(weighed)]:
        keep(search.descend(found[place], 0.0, most_errors=weighed[place][1]))
    return [found[place] for place in _not_dominated(weighed)]


class _Search:
    """Sets one threshold after another to its best value; see `search_thresholds`.

    Costs are parts of the whole network's, errors parts of the samples.
    """

    def __init__(self, confidences, right, macs):
        self._confidences, self._right = confidences, np.asarray(right)
        self._macs = np.asarray(macs, "float64") / macs[-1]
        self._surest_first = np.argsort(-confidences[:-1], axis=1, kind="stable")

    def cost_and_errors(self, thresholds):
        exits = choose_exits(self._confidences, thresholds) - 1
        wrong = ~self._right[exits, np.arange(len(exits))]
        return np.array([self._macs[exits].mean(), wrong.mean()])

    def descend(self, thresholds, weight, *, most_errors):
        for _ in range(_MOST_ROUNDS):
            before, thresholds = thresholds, self._round(thresholds.copy(), weight, most_errors)
            if np.array_equal(before, thresholds):
                break
        return thresholds

    def _round(self, thresholds, weight, most_errors):
        stays = self._confidences[:-1] < thresholds[:, np.newaxis]
        # Whether a sample has left before each exit.
        reaches = np.cumprod(np.vstack([np.ones_like(stays[:1]), stays[:-1]]), axis=0, dtype=bool)
        # Cost and rightness of a sample that passes an exit by.
        cost, is_right = np.full(len(stays[0]), self._macs[-1]), self._right[-1]
        _, errors = self.cost_and_errors(thresholds)
        for place in reversed(range(len(thresholds))):
            more_cost = self._macs[place] - cost
            more_errors = 1.0 * is_right - self._right[place]
            leaves = self._confidences[place] >= thresholds[place]
            # Without those that leave here now.
            errors -= np.mean(more_errors * (leaves & reaches[place]))
            thresholds[place], added = self._best(
                place, reaches[place], more_cost, more_errors, weight, most_errors - errors
            )
            errors += added
            leaves = self._confidences[place] >= thresholds[place]
            cost = np.where(leaves, self._macs[place], cost)
            is_right = np.where(leaves, self._right[place], is_right)
        return thresholds

    def _best(self, place, reaches, more_cost, more_errors, weight, most_errors):
        """The threshold of one exit, and the errors that it adds, by what each sample that leaves
        there adds; of those that add at most `most_errors`, or of all where none does."""
        order = self._surest_first[place]
        order = order[reaches[order]]
        if not len(order):
            return NEVER, 0.0
        confidences = self._confidences[place, order]
        errors = np.cumsum(more_errors[order]) / len(reaches)
        sums = np.cumsum(more_cost[order]) / len(reaches) + weight * errors
        # Samples of equal confidence leave together.
        sums[:-1][confidences[:-1] == confidences[1:]] = np.inf
        sums[errors > most_errors + _ROUNDING] = np.inf
        best = np.argmin(sums)
        # That nobody leaves adds nothing.
        if sums[best] < 0 or (most_errors < -_ROUNDING and np.isfinite(sums[best])):
            return confidences[best], errors[best]
        return NEVER, 0.0


def _not_dominated(weighed):
    """Places of those that are cheaper than all with fewer errors or as few, the cheapest first."""
    kept, least_cost = [], np.inf
    for place in sorted(range(len(weighed)), key=lambda place: tuple(weighed[place][::-1])):
        if weighed[place][0] < least_cost:
            kept.append(place)
            least_cost = weighed[place][0]
    return kept[::-1]
