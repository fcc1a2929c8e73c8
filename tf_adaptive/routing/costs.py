"""What a classifier at each resolution and its predictor cost."""

import dataclasses

import keras
import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.graph.calls import calls_before, is_functional, open_nested
from tf_adaptive.graph.macs import macs_of_calls, parameters_of


@dataclasses.dataclass(frozen=True)
class BranchCosts:
    """What one image costs at each resolution, and what picking one costs.

    Attributes:
        resolutions: the candidates, largest first.
        branch_macs: multiply-accumulates of the classifier at each of them.
        predictor_macs: those of the predictor, which every image pays besides.
        parameters: trainable parameters as the paper counts them: the predictor's and one
            classifier's, private batch norms counted once.
    """

    resolutions: tuple[int, ...]
    branch_macs: tuple[int, ...]
    predictor_macs: int
    parameters: int

    @property
    def branch_gflops(self):
        """`branch_macs` in the paper's unit: it calls 10⁹ multiply-accumulates a GFLOP."""
        return tuple(macs / 1e9 for macs in self.branch_macs)

    def mean_gflops(self, shares):
        """Mean cost of an image, the predictor's included, when these shares are at each.

        Args:
            shares: fractions `(m,)` of the images, which add up to 1.
        """
        return float(np.dot(shares, self.branch_gflops)) + self.predictor_macs / 1e9


def branch_costs(model):
    """What each branch and the predictor of a DRNet cost, counted as `profile` counts.

    That is the papers' count with one more multiply-accumulate per activation, and per element
    that is pooled. Resizing an image costs nothing in it.

    Args:
        model: `tf_adaptive.DRNet`.

    Returns:
        `BranchCosts`.

    Raises:
        InputError: a network has an operation whose cost is not known.

    Example:
        >>> ta.branch_costs(drnet).resolutions
        (24, 16, 12)
    """
    return BranchCosts(
        resolutions=model.resolutions,
        branch_macs=tuple(
            classifier_macs(branch, resolution)
            for branch, resolution in zip(model.branches, model.resolutions, strict=True)
        ),
        predictor_macs=classifier_macs(model.predictor, model.predictor_resolution),
        parameters=parameters_of([model.predictor, model.branches[0]]),
    )


def classifier_macs(model, resolution):
    """Multiply-accumulates of a model of one input for one image, counted as `profile` counts.

    Args:
        model: functional `keras.Model` of one input `(batch, height, width, channels)`; whatever
            height and width it was built with, it is counted at `resolution`.
        resolution: height and width of the image.

    Returns:
        int.

    Raises:
        InputError: the model is not such a model, or has an operation whose cost is not known.
    """
    if not is_functional(model) or len(model.inputs) != 1:
        name = model.name if isinstance(model, keras.Model) else type(model).__name__
        raise InputError(
            f"`model` must be a functional keras.Model of one input. Received: {name!r}."
        )
    opened = open_nested(model)
    shape = (resolution, resolution, opened.inputs[0].shape[-1])
    return sum(macs_of_calls(opened.inputs, calls_before(opened.outputs), [shape]))
