"""Gradient Equilibrium: every exit pulls equally hard on the features it is computed from."""

import keras

from tf_adaptive.errors import check_choice
from tf_adaptive.exits.outputs import exit_tensors
from tf_adaptive.exits.stages import calls_by_stage
from tf_adaptive.graph.calls import (
    calls_before,
    open_nested,
    put_in_layer_order_of,
    run_calls,
)
from tf_adaptive.graph.keras_internals import producer
from tf_adaptive.layers import GradientRescale, StopGradient

FORMS = ("paper", "released")


def with_gradient_equilibrium(model, *, form="paper"):
    """The same network, trained with Gradient Equilibrium (Li et al. 2019, section 3.1).

    With K exits, the gradient of every exit's loss on the features of stage i is 1/(K − i + 1) of
    the plain one, so that it does not grow with the number of exits above: what exit i's own
    branch reads from stage i is scaled by 1/(K − i + 1), and everything that crosses to later
    stages by (K − i)/(K − i + 1), one boundary after another.

    The forward pass does not change, and the layers are `model`'s own, with the same weights in
    the same order: the two networks share checkpoints.

    Args:
        model: functional `keras.Model` with K exits, as `split_stages` takes.
        form: "paper", or "released": the published code scales the maps that the exit reads, and
            leaves the others that cross (MSDNet's finer scales) as they are.

    Returns:
        A functional `keras.Model`.

    Raises:
        InputError: what `split_stages` raises; an unknown `form`.

    Example:
        >>> balanced = ta.with_gradient_equilibrium(model)
        >>> len(balanced.outputs)
        4
    """
    return _BalancedNetwork(model, form=form, name=model.name)


def trunk_variables(model):
    """The trainable variables on which Gradient Equilibrium has an effect, by stage.

    By equation 5 every exit's gradient on what stage i shares with later exits has the same factor
    1/(K − i + 1). The last stage, whose factor is 1, has all its variables here.

    Args:
        model: as `with_gradient_equilibrium` takes, without nested models.

    Returns:
        List of K lists of Keras variables; a layer of several stages is the first one's.
    """
    stages = calls_by_stage(model)
    in_branch = _calls_in_branches(model, stages)
    seen, trunks = set(), []
    for calls in stages:
        trunks.append([])
        for node in calls:
            for variable in getattr(node.operation, "trainable_variables", []):
                if id(node) not in in_branch and id(variable) not in seen:
                    trunks[-1].append(variable)
                seen.add(id(variable))
    return trunks


def _calls_in_branches(model, stages):
    """Ids of the calls that only their own stage's exit gets a gradient through.

    The last stage, which no later exit reads, has none: its exit pulls on each of its maps as in
    the plain network.
    """
    stopped = [
        tensor
        for calls in stages
        for node in calls
        if isinstance(node.operation, StopGradient)
        for tensor in node.outputs
    ]
    in_branch = set()
    for number, calls in enumerate(stages[:-1], start=1):
        later = set(map(id, calls_before(model.outputs[number:], stopped)))
        in_branch.update(id(node) for node in calls if id(node) not in later)
    return in_branch


@keras.saving.register_keras_serializable(package="tf_adaptive")
class _BalancedNetwork(keras.Model):
    """A functional model that is saved as the network it was made from, and made from it anew.

    Loaded by its own graph it would have its layers, and so its weights, in another order.
    """

    def __init__(self, model, *, form, name):
        check_choice("form", form, FORMS)
        exit_tensors(model, least=2)
        config = {"model": keras.saving.serialize_keras_object(model), "form": form, "name": name}
        model = open_nested(model)
        rescaled = _Rescaled(model, form)
        tensors = {id(tensor): tensor for tensor in model.inputs}
        for number, calls in enumerate(rescaled.stages, start=1):
            for node in calls:
                given = {
                    id(tensor): rescaled.read(tensor, tensors[id(tensor)], node, number)
                    for tensor in node.input_tensors
                }
                run_calls([node], given)
                tensors.update({id(tensor): given[id(tensor)] for tensor in node.outputs})
        outputs = [tensors[id(tensor)] for tensor in model.outputs]
        super().__init__(inputs=model.input, outputs=outputs, name=name)
        put_in_layer_order_of(model, self)
        self._config = config

    def get_config(self):
        return dict(self._config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects)
        return cls(model, form=config["form"], name=config["name"])


class _Rescaled:
    """What each call of a model reads, with the gradient rescaled where the form says so."""

    def __init__(self, model, form):
        self.stages = calls_by_stage(model)
        self._form = form
        self._made_in = {
            id(tensor): number
            for number, calls in enumerate(self.stages, start=1)
            for node in calls
            for tensor in node.outputs
        }
        self._in_branch = _calls_in_branches(model, self.stages)
        self._exits_read = {
            id(tensor)
            for calls in self.stages
            for node in calls
            if id(node) in self._in_branch
            for tensor in node.input_tensors
        }
        self._layers = {}

    def read(self, tensor, value, node, number):
        """What a call of stage `number` reads for `tensor`, which `value` now stands for."""
        scale = self._scale(tensor, node, number)
        if scale == 1:
            return value
        if (id(tensor), scale) not in self._layers:
            name = f"{producer(tensor).operation.name}_rescale_{number}"
            layer = GradientRescale(scale, dtype=tensor.dtype, name=name)
            self._layers[id(tensor), scale] = layer(value)
        return self._layers[id(tensor), scale]

    def _scale(self, tensor, node, number):
        made_in = self._made_in.get(id(tensor))
        if made_in is None or id(producer(tensor)) in self._in_branch:
            return 1
        exits_above = len(self.stages) - made_in + 1
        into_branch = id(node) in self._in_branch
        if self._form == "paper":
            # The product of the scales at all boundaries in between.
            return (1 if into_branch else len(self.stages) - number + 1) / exits_above
        if id(tensor) not in self._exits_read:
            return 1
        if number > made_in:
            return (exits_above - 1) / exits_above
        return 1 / exits_above if into_branch else 1
