"""The linear layers that a network's exits end in, apart from what computes their features."""

import keras
import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.exits.outputs import exit_tensors
from tf_adaptive.graph.calls import calls_before, open_nested, run_calls
from tf_adaptive.graph.keras_internals import producer


def linear_exits(model):
    """The linear layer of every exit, and the features it reads.

    Args:
        model: functional `keras.Model` with K ≥ 2 exits, as `split_stages` takes.

    Returns:
        List of K pairs: a `keras.layers.Dense`, a symbolic tensor `(batch, features)`.

    Raises:
        InputError: what `exit_tensors` raises of the outputs; an exit that is not a
            `keras.layers.Dense` without activation.
    """
    exits = []
    for number, logits in enumerate(exit_tensors(model, least=2), start=1):
        node = producer(logits)
        layer = node.operation
        is_linear = isinstance(layer, keras.layers.Dense) and (
            layer.activation is keras.activations.linear
        )
        if not is_linear:
            raise InputError(
                "Every exit of `model` must be a keras.layers.Dense without activation. "
                f"Received: exit {number} is {layer.name!r}, a {type(layer).__name__}."
            )
        exits.append((layer, node.input_tensors[0]))
    return exits


def copied_exit(layer, features, name):
    """Calls a new linear layer that answers what `layer` does.

    Args:
        layer: a built `keras.layers.Dense`.
        features: symbolic tensor whose first features are those that `layer` reads; the weights
            on the others are 0.
        name: of the new layer.

    Returns:
        Symbolic logits `(batch, classes)`.
    """
    copy = keras.layers.Dense(
        layer.units, use_bias=layer.use_bias, dtype=layer.dtype_policy.name, name=name
    )
    logits = copy(features)
    kernel = np.zeros(copy.kernel.shape, "float32")
    kernel[: layer.kernel.shape[0]] = layer.kernel
    copy.kernel.assign(kernel)
    if layer.use_bias:
        copy.bias.assign(layer.bias)
    return logits


def with_own_exits(model):
    """The same network with linear layers of its own at the exits; it shares all others.

    Args:
        model: as `linear_exits` takes.

    Returns:
        A functional `keras.Model` that answers what `model` does.

    Raises:
        InputError: as `linear_exits`.
    """
    model = open_nested(model)
    logits = [
        copied_exit(layer, features, f"own_{layer.name}") for layer, features in linear_exits(model)
    ]
    return keras.Model(model.input, logits, name=model.name)


def split_heads(model, features):
    """Cuts a network in two at the features of its exits.

    Args:
        model: functional `keras.Model` with K exits.
        features: list of symbolic tensors of its graph, the batch their first axis, that lie
            between its input and all of its exits, or are an exit.

    Returns:
        `(backbone, heads)`: functional models that share the layers, from what `model` takes to
        all features flat and side by side, float32 `(batch, all features)`, and from there to the
        logits.
    """
    flat = [
        feature if len(feature.shape) == 2 else keras.layers.Flatten(dtype="float32")(feature)
        for feature in features
    ]
    together = keras.layers.Concatenate(dtype="float32")(flat)
    backbone = keras.Model(model.input, together, name=f"{model.name}_backbone")
    inputs = keras.Input(together.shape[1:], name="features")
    places = np.cumsum([part.shape[-1] for part in flat])[:-1].tolist()
    parts = keras.ops.split(inputs, places, axis=-1)
    tensors = {
        id(feature): _in_shape_of(feature, part)
        for feature, part in zip(features, parts, strict=True)
    }
    run_calls(calls_before(model.outputs, features), tensors)
    logits = [tensors[id(exit)] for exit in model.outputs]
    return backbone, keras.Model(inputs, logits, name=f"{model.name}_heads")


def _in_shape_of(feature, part):
    """A flat part with the shape and dtype of the feature that it was."""
    if len(feature.shape) > 2:
        part = keras.ops.reshape(part, (-1, *feature.shape[1:]))
    return part if feature.dtype == part.dtype else keras.ops.cast(part, feature.dtype)
