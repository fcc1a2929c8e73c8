"""Thresholds that keep a promise: a bound on what leaving early costs, at a level of confidence.

Learn then Test (Angelopoulos et al. 2021) with a fixed sequence: a family of thresholds that
samples other than those tested have given is tested from the safest on; each test is of the
hypothesis that its risk is above the bound, and the first that is not rejected ends them. With
probability `confidence` over the draw of the tested samples, the thresholds chosen keep the bound.
"""

import dataclasses
import math

import numpy as np

from tf_adaptive.errors import InputError

LOSSES = ("accuracy_gap", "disagreement")

# Bets on a risk below the bound, as parts of the largest that cannot lose everything; each has an
# equal share of the capital.
_BETS = np.geomspace(1 / 128, 1, 8)

_MOST_IMAGES = 10**9


@dataclasses.dataclass(frozen=True)
class LossCounts:
    """How the answers of early exit differ from the last exit's on samples.

    Attributes:
        images: how many samples.
        spoiled: where early exit is wrong and the last exit right; None without labels.
        mended: where early exit is right and the last exit wrong; None without labels.
        differing: where they name different classes.
    """

    images: int
    spoiled: int | None
    mended: int | None
    differing: int

    def loss(self, loss):
        """The mean loss, "accuracy_gap" or "disagreement"."""
        if loss == "disagreement":
            return self.differing / self.images
        return (self.spoiled - self.mended) / self.images


@dataclasses.dataclass(frozen=True)
class Promise:
    """What an operating point promises.

    Attributes:
        risk: the bound on the mean loss, as 0.01 for one point of accuracy.
        confidence: the probability over the draw of the tested samples that it holds.
        loss: "accuracy_gap", of the last exit's accuracy; or "disagreement" with the last exit.
        images: how many samples were tested.
    """

    risk: float
    confidence: float
    loss: str
    images: int

    def words(self):
        """The promise as a sentence."""
        what = {
            "accuracy_gap": f"loses at most {100 * self.risk:g} points of accuracy against",
            "disagreement": f"differs on at most {100 * self.risk:g} % of the images from",
        }[self.loss]
        return (
            f"Early exit {what} the last exit, with {100 * self.confidence:g} % confidence by "
            f"{self.images:,} images, on images like those."
        )


def check_promise(risk, confidence):
    """Refuses a risk or a confidence that is not inside 0 and 1."""
    for name, value in (("risk", risk), ("confidence", confidence)):
        if not 0 < value < 1:
            raise InputError(f"`{name}` must be above 0 and below 1. Received: {name}={value}.")


def evidence(counts, risk, loss):
    """The logarithm of how much a bettor against "the risk is above the bound" has won.

    Where that hypothesis holds the capital is 1 in the mean, so that it reaches 1 / δ with a
    probability of δ at most (Waudby-Smith and Ramdas 2024; Ville's inequality). It bets on the
    loss, in [-1, 1] or [0, 1], in shares that are fixed beforehand, so that only the counts matter.

    Args:
        counts: `LossCounts`.
        risk: the bound, in (0, 1).
        loss: one of `LOSSES`.

    Returns:
        A float; `math.log(1 / (1 - confidence))` or more rejects the hypothesis.

    Example:
        >>> none_lost = LossCounts(images=500, spoiled=0, mended=0, differing=0)
        >>> math.exp(evidence(none_lost, 0.01, "disagreement")) > 1 / 0.05
        True
    """
    lost, won, least = counts.differing, 0, 0
    if loss == "accuracy_gap":
        lost, won, least = counts.spoiled, counts.mended, -1
    # The largest bet that a loss of 1 does not ruin, but for the last sliver.
    bets = _BETS * (1 - 1e-6) / (1 - risk)
    capital = (
        lost * np.log1p(-bets * (1 - risk))
        + won * np.log1p(-bets * (least - risk))
        + (counts.images - lost - won) * np.log1p(bets * risk)
    )
    return float(np.logaddexp.reduce(capital) - math.log(len(bets)))


def last_promised(family_counts, risk, confidence, loss):
    """The cheapest of a family of thresholds that keeps the promise.

    Args:
        family_counts: list of `LossCounts`, the safest first.
        risk, confidence: of the promise, both in (0, 1).
        loss: one of `LOSSES`.

    Returns:
        Its place in the list.

    Raises:
        InputError: even the safest is not shown to keep it; how many images would suffice is told.
    """
    check_promise(risk, confidence)
    enough = -math.log(1 - confidence)
    found = None
    for place, counts in enumerate(family_counts):
        if evidence(counts, risk, loss) < enough:
            break
        found = place
    if found is None:
        safest = family_counts[0]
        raise InputError(
            f"`risk` must be one that the images suffice for: {safest.images:,} show no saving "
            f"that keeps it with {100 * confidence:g} % confidence. "
            f"{_needed_in_words(safest, risk, confidence, loss)} Received: risk={risk:g}."
        )
    return found


def images_needed(counts, risk, confidence, loss):
    """How many images like these would show that the risk is below the bound.

    Returns:
        An int; None where no number would, as the loss on these is not below the bound.
    """
    enough = -math.log(1 - confidence)
    if counts.loss(loss) >= risk:
        return None

    def suffices(images):
        scale = images / counts.images
        spoiled, mended = (
            None if count is None else count * scale for count in (counts.spoiled, counts.mended)
        )
        scaled = LossCounts(images, spoiled, mended, counts.differing * scale)
        return evidence(scaled, risk, loss) >= enough

    low, high = 0, 1
    while not suffices(high):
        low, high = high, 2 * high
        if high > _MOST_IMAGES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def smallest_risk(counts, confidence, loss):
    """The smallest bound that samples show to be kept, to a millionth.

    Args:
        counts: `LossCounts`.
        confidence, loss: of the promise.

    Returns:
        A float; 1 where none below it is shown.
    """
    enough = -math.log(1 - confidence)
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if evidence(counts, middle, loss) >= enough else (middle, high)
    return high


def _needed_in_words(counts, risk, confidence, loss):
    needed = images_needed(counts, risk, confidence, loss)
    if needed is None:
        return (
            f"The safest thresholds lose {100 * counts.loss(loss):.2f} points on them, so that no "
            "number of such images would."
        )
    return f"About {needed:,} such images would suffice."
