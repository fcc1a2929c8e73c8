"""Losses of networks that pick a resolution."""

import keras
import numpy as np

from tf_adaptive.cross_entropy import smoothed_cross_entropy
from tf_adaptive.errors import InputError, check_at_least_0
from tf_adaptive.replicas import mean_of_batch


def flops_loss(one_hot, branch_gflops, target_gflops):
    """How far the mean cost of the chosen branches is above the target.

    max(0, (E[Σ_j C_j h_j] − α) / (C_max − C_min)), section 3.2 of Zhu et al. 2021 (DRNet): 0 when
    the target is met, at most 1.

    Args:
        one_hot: h of the choice, `(batch, m)`, float32, through which gradients pass.
        branch_gflops: C, the classifier's cost at each candidate, in GFLOPs; the predictor's is
            in none of them.
        target_gflops: α, the mean cost wanted, in the same unit.

    Returns:
        float32 scalar.

    Raises:
        InputError: not one cost per candidate, costs that do not differ, or a target that is not
            between the cheapest and the dearest.
    """
    costs = check_target_gflops(branch_gflops, target_gflops)
    if one_hot.shape[-1] != len(costs):
        raise InputError(
            f"`branch_gflops` must be {one_hot.shape[-1]} costs, one per candidate. "
            f"Received: branch_gflops={tuple(branch_gflops)}."
        )
    mean_gflops = mean_of_batch(keras.ops.sum(one_hot * costs, axis=-1))
    return keras.ops.relu((mean_gflops - target_gflops) / float(costs.max() - costs.min()))


def flops_regularized_cross_entropy(
    labels, logits, one_hot, *, branch_gflops, target_gflops, flops_weight, label_smoothing=0.0
):
    """What DRNet minimises: L = CE + η · L_reg, section 3.2 of Zhu et al. 2021.

    Args:
        labels: integers `(batch,)`.
        logits: `(batch, classes)`, computed on in float32.
        one_hot, branch_gflops, target_gflops: see `flops_loss`, L_reg.
        flops_weight: η, at least 0; the paper's is 0.2.
        label_smoothing: see `smoothed_cross_entropy`.

    Returns:
        float32 scalar.

    Raises:
        InputError: what `flops_loss` and `smoothed_cross_entropy` raise; `flops_weight` out of
            range.
    """
    check_at_least_0("flops_weight", flops_weight)
    cross_entropy = smoothed_cross_entropy(labels, logits, label_smoothing)
    return cross_entropy + flops_weight * flops_loss(one_hot, branch_gflops, target_gflops)


def check_target_gflops(branch_gflops, target_gflops):
    """The costs as float32 `(m,)`.

    Raises:
        InputError: costs that do not differ, or a target that is not between the cheapest and the
            dearest.
    """
    costs = np.asarray(branch_gflops, "float32")
    if costs.ndim != 1 or not np.all(np.isfinite(costs)) or np.unique(costs).size < 2:
        raise InputError(
            "`branch_gflops` must be two different costs or more. "
            f"Received: branch_gflops={branch_gflops}."
        )
    cheapest, dearest = min(branch_gflops), max(branch_gflops)
    if not cheapest <= target_gflops <= dearest:
        raise InputError(
            f"`target_gflops` must be from {cheapest:.4g} to {dearest:.4g}, the cost of the "
            "cheapest and of the dearest resolution. "
            f"Received: target_gflops={target_gflops}."
        )
    return costs
