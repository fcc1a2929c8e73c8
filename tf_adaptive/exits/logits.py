"""The logits behind a classifier's answer: without the activation at its end."""

import keras
from keras.src.ops.nn import Sigmoid, Softmax

from tf_adaptive.errors import InputError
from tf_adaptive.graph import producer

_PROBABILITIES = (keras.activations.softmax, keras.activations.sigmoid)
_ACTIVATION_LAYERS = (
    *(keras.layers.ELU, keras.layers.LeakyReLU, keras.layers.PReLU, keras.layers.ReLU),
)


def without_final_activation(model):
    """A classifier that ends in its logits, and the name of the activation that was taken off.

    A softmax or a sigmoid is taken off where it is a layer of its own at the end, or the
    activation of a last `Dense`, in whose place a layer of the same name and weights gives the
    logits, the same numbers to the bit. All other layers are shared.

    Args:
        model: functional `keras.Model` with one output `(batch, classes)`.

    Returns:
        `(model, name)`: `model` itself and None where it ends in logits already.

    Raises:
        InputError: one class only, or an output that is neither logits nor probabilities right
            behind them.
    """
    (answer,) = model.outputs
    if answer.shape[-1] < 2:
        raise InputError(
            "`model` must tell two classes or more apart, each with an output of its own. "
            f"Received: {model.name!r} with an output of {answer.shape[-1]}"
        )
    node = producer(answer)
    layer = node.operation
    alone, activation = _activation(layer)
    if activation is None:
        return model, None
    if activation not in _PROBABILITIES or not (alone or type(layer) is keras.layers.Dense):
        raise InputError(
            "`model` must end in logits, or in a softmax or sigmoid that is a layer of its own or "
            f"the activation of a Dense. Received: {layer.name!r}, a {type(layer).__name__}"
        )
    (features,) = node.input_tensors
    if alone:
        logits = features
    else:
        linear = keras.layers.Dense.from_config({**layer.get_config(), "activation": None})
        logits = linear(features)
        linear.set_weights(layer.get_weights())
    return keras.Model(model.input, logits, name=model.name), activation.__name__


def _activation(layer):
    """Whether a layer is nothing but an activation, and the activation, None for none."""
    operations = {Softmax: keras.activations.softmax, Sigmoid: keras.activations.sigmoid}
    if type(layer) in operations:
        return True, operations[type(layer)]
    if isinstance(layer, keras.layers.Softmax):
        return True, keras.activations.softmax
    if isinstance(layer, _ACTIVATION_LAYERS):
        return True, type(layer)
    activation = getattr(layer, "activation", None)
    if activation is keras.activations.linear:
        activation = None
    return isinstance(layer, keras.layers.Activation), activation
