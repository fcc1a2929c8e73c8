"""What any network of this package costs."""

from tf_adaptive.exits.costs import profile
from tf_adaptive.models.drnet import is_routed
from tf_adaptive.routing.costs import branch_costs


def costs(model):
    """What each exit of a network costs, or each resolution.

    Args:
        model: functional `keras.Model` with K exits, or `tf_adaptive.DRNet`.

    Returns:
        List of K `ExitCost`, or `BranchCosts`.

    Raises:
        InputError: what `profile` and `branch_costs` refuse.

    Example:
        >>> [cost.exit for cost in ta.costs(model)]
        [1, 2, 3, 4]
    """
    return branch_costs(model) if is_routed(model) else profile(model)
