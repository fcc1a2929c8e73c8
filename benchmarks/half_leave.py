"""An operating point to time early exit at, of any network."""

import numpy as np

from tf_adaptive.exits.evaluation import confidences_of_exits
from tf_adaptive.exits.operating_point import OperatingPoint
from tf_adaptive.exits.thresholds import thresholds_for_budget


def half_leave(logits, measure):
    """The operating point at which half of the images that reach an exit leave there.

    Args:
        logits: of the images, one array `(images, classes)` per exit.
        measure: see `confidence_scores`.
    """
    fractions = 0.5 ** np.arange(1, len(logits) + 1)
    fractions[-1] *= 2
    thresholds = thresholds_for_budget(confidences_of_exits(logits, measure), fractions)
    return OperatingPoint(thresholds, measure, "half leave")
