"""The operating points that the page's slider moves along, and what each means in words."""

import dataclasses
import math

import numpy as np

from tf_adaptive.exits.thresholds import NEVER

_NEVER_WORDS = "Nothing leaves early: the whole network runs on every picture."
_FIRST_WORDS = (
    "Everything leaves at the first exit, however unsure. Nobody has measured what this gives."
)
_UNMEASURED = "Nobody has measured what this gives, and nothing is promised."

# Of the doubt that the network's own thresholds allow, where there is no family.
_LESS_DOUBT = {1 / 16: "A sixteenth of", 1 / 8: "An eighth of", 1 / 4: "A quarter of"} | {
    1 / 2: "Half"
}
_MORE_DOUBT = {2: "Twice", 4: "Four times", 8: "Eight times"}


@dataclasses.dataclass(frozen=True, eq=False)
class Points:
    """What the slider moves along.

    Attributes:
        thresholds: a list of float32 `(exits - 1,)`, from the safest to the cheapest.
        words: what each means, a sentence or two.
        chosen: the place of the network's own.
        cheap_end: what the cheapest is, in few words.
    """

    thresholds: list
    words: list
    chosen: int
    cheap_end: str


def operating_points(point):
    """The points around a network's own.

    With a promise, they are the family that it was tested with, and end at what is promised.
    Without, they are thresholds that allow more doubt or less, and nothing is said of what those
    give.

    Args:
        point: `OperatingPoint`.

    Returns:
        `Points`; of a network with one exit, its only one.
    """
    never = np.full_like(point.thresholds, NEVER)
    if not np.any(point.thresholds != NEVER):
        return Points([never], [_NEVER_WORDS], 0, "")
    if point.promise is not None and point.family:
        members = [(never, _NEVER_WORDS), *_promised(point)]
        return _points(members, len(members) - 1, "as early as is promised")
    members = [
        (never, _NEVER_WORDS),
        *_doubting(point.thresholds, _LESS_DOUBT),
        (point.thresholds, _own_words(point)),
        *_doubting(point.thresholds, _MORE_DOUBT),
        (np.zeros_like(never), _FIRST_WORDS),
    ]
    return _points(members, 1 + len(_LESS_DOUBT), "always the first exit")


def _points(members, chosen, cheap_end):
    thresholds, words = zip(*members, strict=True)
    return Points(list(thresholds), list(words), chosen, cheap_end)


def _promised(point):
    """The family from the safest on, the promised member last."""
    risk = 0.0
    for thresholds, disagreement in point.family[:-1]:
        # A member is only reached where those before it, which are safer, keep the bound too.
        risk = max(risk, disagreement)
        # Upwards, so that what is said is kept.
        bound = dataclasses.replace(
            point.promise, risk=math.ceil(1e4 * risk) / 1e4, loss="disagreement"
        )
        yield thresholds, bound.words()
    yield point.thresholds, _own_words(point)


def _own_words(point):
    words = [f"{point.chosen[:1].upper()}{point.chosen[1:]}."] if point.chosen else []
    if point.promise is not None:
        words = [point.promise.words()]
    if point.accuracy_percent is not None and point.mean_macs is not None:
        words.append(
            f"Measured on test images: {point.accuracy_percent:.2f} % right, at "
            f"{point.mean_macs / 1e6:.2f} million MACs an image on average."
        )
    return " ".join(words)


def _doubting(thresholds, factors):
    """Thresholds whose distance to certainty is scaled; exits that nothing leaves at stay so."""
    for factor, words in factors.items():
        scaled = np.maximum(np.float32(0), 1 - (1 - thresholds) * np.float32(factor))
        scaled = np.where(thresholds == NEVER, NEVER, scaled).astype(np.float32)
        yield scaled, f"{words} the doubt that the network's own thresholds allow. {_UNMEASURED}"
