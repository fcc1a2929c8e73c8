"""Every private name of Keras that the package uses.

Keras may change these in any version; `tests/graph/keras_internals_test.py` says what each must do.
"""

import keras
from keras.src.models.functional import Functional
from keras.src.ops.nn import Sigmoid, Softmax
from keras.src.ops.numpy import Concatenate

# The operations behind `keras.ops.concatenate`, `softmax` and `sigmoid` on symbolic tensors.
CONCATENATE, SOFTMAX, SIGMOID = Concatenate, Softmax, Sigmoid


def producer(tensor):
    """The call (Keras node) that gives a symbolic tensor."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def is_its_graph(operation):
    """Whether it is a model that calls its layers and does nothing besides."""
    return type(operation).call in (Functional.call, keras.Sequential.call)


def functional_of(sequential):
    """The functional model that a built `keras.Sequential` calls."""
    return sequential._functional


def takes_training(operation):
    """Whether an operation is called with an argument `training`."""
    return getattr(operation, "_call_has_training_arg", False)


def layers_within(layer):
    """A layer and all layers inside it, as a flat iterator."""
    return layer._flatten_layers()


def own_trainable_variables(layer):
    """The variables made to be trained that a layer made itself, also where it is frozen."""
    return layer._trainable_variables


def under_name(operation, name):
    """The same operation, variables and all, that has another name and no calls yet."""
    renamed = object.__new__(type(operation))
    renamed.__dict__.update(operation.__dict__)
    # Past the tracking of attributes, which both have in common.
    renamed.__dict__.update(name=name, _inbound_nodes=[], _outbound_nodes=[])
    return renamed


def set_order(model, place):
    """Puts a functional model's operations in order, in which weights are listed and saved.

    Args:
        model: functional `keras.Model`.
        place: function of an operation, to sort by.
    """
    # Past the tracking of attributes, which would make a list sorted later one not to be saved.
    object.__setattr__(model, "_operations", sorted(model.operations, key=place))
    model._layers.sort(key=place)


def batch_normalizations(layer):
    """The batch norms that a layer or a model is or holds, a list."""
    return [
        inner
        for inner in layers_within(layer)
        if isinstance(inner, keras.layers.BatchNormalization)
    ]
