"""Ensembles: networks one after another, an exit after each, the answer the mean so far."""

import copy
import json

import keras

from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.graph.calls import calls_before, is_functional, open_nested, run_calls
from tf_adaptive.layers import MeanPrediction
from tf_adaptive.models.densenet import DenseNet
from tf_adaptive.models.presets import ENSEMBLE_PRESETS
from tf_adaptive.models.resnet import ResNet

_NETWORKS = {"ResNet": ResNet, "DenseNet": DenseNet}


@keras.saving.register_keras_serializable(package="tf_adaptive")
class Ensemble(keras.Model):
    """Classifiers on the same images, evaluated in turn (Huang et al. 2018, section 5).

    A functional model: `model(images)` is the list of K logits `(batch, classes)`, float32, one
    per member. The softmax of the k-th is exactly the mean of the first k members' softmax, as
    these logits are the logarithm of that mean; the first are the first member's own. So stage k
    of `split_stages` runs member k, and is handed on the images and the mean so far.

    Args:
        members: list of K ≥ 2 functional `keras.Model`, cheapest first, each from one input of the
            same shape to logits `(batch, classes)`. Their layers are copied, with their weights.
        name: name of the model.

    Attributes:
        presets: the networks of the usual ensembles, by name.

    Raises:
        InputError: fewer than two members, one that is no such network, or that differs from the
            first in its images or its classes.

    Example:
        >>> members = [ta.ResNet.from_preset(f"resnet_cifar_{depth}") for depth in (20, 56)]
        >>> len(ta.Ensemble(members).outputs)
        2
    """

    presets = ENSEMBLE_PRESETS

    def __init__(self, members, *, name="ensemble"):
        members = list(members)
        _check_members(members)
        shape, dtype = members[0].inputs[0].shape[1:], members[0].inputs[0].dtype
        images = keras.Input(shape, dtype=dtype, name="images")
        exits = []
        for number, member in enumerate(members, start=1):
            logits = _copied(member, images, prefix=f"stage_{number}_")
            if exits:
                mean = MeanPrediction(number, dtype="float32", name=f"mean_{number}")
                logits = mean([exits[-1], logits])
            exits.append(logits)
        super().__init__(inputs=images, outputs=exits, name=name)
        descriptions = [keras.saving.serialize_keras_object(member) for member in members]
        # As a file holds them: lists in place of tuples.
        self._config = {"members": json.loads(json.dumps(descriptions)), "name": name}

    @classmethod
    def from_preset(cls, preset, *, name="ensemble", **overrides):
        """One of the usual ensembles, its weights random.

        Args:
            preset: one of `presets`.
            name: name of the model.
            **overrides: constructor arguments of every member that differ from its preset's, such
                as `num_classes` or `input_shape`.

        Raises:
            InputError: no preset has that name.
        """
        check_choice("preset", preset, cls.presets)
        network, members = cls.presets[preset]
        build = _NETWORKS[network].from_preset
        return cls([build(member, **overrides) for member in members], name=name)

    def get_config(self):
        return dict(self._config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        # Keras takes the descriptions apart in building from them.
        members = [
            keras.saving.deserialize_keras_object(member, custom_objects=custom_objects)
            for member in copy.deepcopy(config["members"])
        ]
        model = cls(members, name=config["name"])
        # Described anew while Keras loads a file, members would carry its marks of shared objects.
        model._config = dict(config)
        return model


def _check_members(members):
    if len(members) < 2:
        raise InputError(
            f"`members` must be a list of two networks or more. Received: {len(members)}."
        )
    for member in members:
        is_one = is_functional(member) and len(member.inputs) == len(member.outputs) == 1
        if not is_one or len(member.outputs[0].shape) != 2 or member.outputs[0].shape[1] is None:
            raise InputError(
                "Every one of `members` must be a functional keras.Model from one input to logits "
                f"of shape (batch, classes). Received: {member!r}."
            )
    for what, side in (("input", "inputs"), ("output", "outputs")):
        shapes = [tuple(getattr(member, side)[0].shape[1:]) for member in members]
        if len(set(shapes)) > 1:
            raise InputError(
                f"`members` must have the same {what} shape. Received: {what} shapes {shapes}."
            )


def _copied(member, images, *, prefix):
    """Calls a copy of a member, whose layers have names of their own, on the images."""
    member = open_nested(member)
    calls = calls_before(member.outputs)
    copies = {}

    def call(operation, args, kwargs):
        is_new = id(operation) not in copies
        if is_new:
            # `get_config` of an operation that is no layer can leave its name out.
            config = {**operation.get_config(), "name": f"{prefix}{operation.name}"}
            copies[id(operation)] = type(operation).from_config(config)
        outputs = copies[id(operation)](*args, **kwargs)
        if is_new and isinstance(operation, keras.Layer):
            copies[id(operation)].set_weights(operation.get_weights())
        return outputs

    tensors = {id(member.inputs[0]): images}
    run_calls(calls, tensors, call)
    return tensors[id(member.outputs[0])]
