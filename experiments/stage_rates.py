"""Gradient Equilibrium as a rate for each stage, and back: steps that should be equal in pairs."""

from tf_adaptive.exits.gradient_equilibrium import trunk_variables, with_gradient_equilibrium
from tf_adaptive.exits.losses import multi_exit_cross_entropy
from tf_adaptive.training.multi_exit_phases import kernels_by_stage
from tf_adaptive.training.multi_exit_step import TrainStep

WHAT = ("plain", "GE", "multipliers", "undone", "released")

# Powers of K − i + 1 that the gradients of stage i are multiplied by.
_POWERS = {"multipliers": -1, "undone": 1}


def step_of(what, network, descent):
    """The step that trains a network with exits in one of these ways.

    Args:
        what: "plain"; "GE"; "released", GE in the published code's form; "multipliers", the plain
            network with its stages' gradients × 1/(K − i + 1); or "undone", GE with its stages'
            gradients × (K − i + 1).
        network: functional `keras.Model` with K exits.
        descent: `Descent`.

    Returns:
        `TrainStep`, which tells how far it moves each stage's kernels.
    """
    model = network
    if what in ("GE", "undone", "released"):
        form = "released" if what == "released" else "paper"
        model = with_gradient_equilibrium(network, form=form)
    trunks = trunk_variables(network)
    factors = {
        variable.path: float(len(trunks) - place) ** _POWERS.get(what, 0)
        for place, trunk in enumerate(trunks)
        for variable in trunk
    }
    return _ScaledStep(
        model,
        descent.optimizer(),
        lambda labels, logits: multi_exit_cross_entropy(labels, logits)[0],
        weight_decay=descent.weight_decay,
        updates_of=kernels_by_stage(network),
        factors=factors,
    )


class _ScaledStep(TrainStep):
    """Multiplies the gradients of variables, by their paths, before weight decay is added."""

    def __init__(self, *arguments, factors, **settings):
        super().__init__(*arguments, **settings)
        self._factors = [factors.get(v.path, 1.0) for v in self.model.trainable_variables]

    def _gradients(self, tape, loss, groups, share):
        (gradients,) = super()._gradients(tape, loss, groups, share)
        return [[f * gradient for f, gradient in zip(self._factors, gradients, strict=True)]]
