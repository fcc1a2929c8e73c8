"""What a classifier's last layers make: its logits, whatever stands behind them."""

import warnings

import keras

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.graph.calls import is_functional, open_nested, run_calls
from tf_adaptive.graph.keras_internals import SIGMOID, SOFTMAX, producer

# They hand numbers on as they are; dropout does in inference.
_MOVING = (
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.Identity,
    keras.layers.Reshape,
)
_WITH_KERNEL = (keras.layers.Dense, keras.layers.Conv2D)
_LINEAR = (
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.AveragePooling2D,
    keras.layers.BatchNormalization,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.Rescaling,
)
_TAKEN_OFF = ("softmax", "sigmoid")


def without_final_activation(model):
    """The same classifier, without what makes probabilities of its logits at the end.

    A softmax or a sigmoid goes, be it a layer's own activation or a layer of its own, also one
    with a reshape or a dropout around it. The layers below are `model`'s own; the layer that had
    the activation is a new one of the same name and weights, so the logits are the same bits.

    Args:
        model: functional `keras.Model` or `keras.Sequential` of one output
            `(batch, classes)`; nested models are opened up.

    Returns:
        `(model, name)`: a functional `keras.Model` whose output is the logits, and "softmax",
        "sigmoid", or None where `model` ends in a linear layer; its graph is then `model`'s.

    Raises:
        InputError: several outputs, or one that is not `(batch, classes)` of two classes or more;
            a last layer that is neither linear nor a softmax over the classes nor a sigmoid.

    Example:
        >>> model = keras.applications.MobileNetV2(weights=None)
        >>> model, taken_off = without_final_activation(model)
        >>> taken_off
        'softmax'
    """
    model = classifier_graph(model)
    logits, name = _without_probabilities(model.outputs[0])
    _check_linear(_maker(logits).operation)
    if name is None:
        return model, None
    return keras.Model(model.input, logits, name=model.name), name


def exits_as_logits(model):
    """The same network, without what makes probabilities of its exits' logits.

    A softmax or a sigmoid at the end of an output goes, as by `without_final_activation`, with a
    warning that says where; whatever else an output ends in stays.

    Args:
        model: functional `keras.Model` whose outputs are `(batch, classes)`.

    Returns:
        `model`, or a functional `keras.Model` that shares all layers but those that had the
        activation.

    Example:
        >>> images = keras.Input((8, 8, 3))
        >>> features = keras.layers.GlobalAveragePooling2D()(images)
        >>> model = keras.Model(images, keras.layers.Dense(5, activation="softmax")(features))
        >>> exits_as_logits(model).layers[-1].activation is keras.activations.linear
        True
    """
    opened = open_nested(model)
    logits, names = zip(*map(_without_probabilities, opened.outputs), strict=True)
    if not any(names):
        return model
    where = ", ".join(
        f"{name} at output {number}" for number, name in enumerate(names, start=1) if name
    )
    warnings.warn(f"Exits give logits: taken off the end of {model.name!r}: {where}", stacklevel=3)
    outputs = keras.tree.pack_sequence_as(model.output, list(logits))
    return keras.Model(opened.input, outputs, name=model.name)


def _without_probabilities(output):
    """`(logits, name)` of an output: "softmax", "sigmoid", what it was made with, or None."""
    maker, behind = _last_computing_call(output)
    name = None if maker is None else _probabilities_of(maker)
    if name is None:
        return output, None
    layer = maker.operation
    if isinstance(layer, _WITH_KERNEL):
        linear = type(layer).from_config({**layer.get_config(), "activation": "linear"})
        logits = linear(maker.input_tensors[0])
        linear.set_weights(layer.get_weights())
    else:
        logits = maker.input_tensors[0]
    tensors = {id(maker.outputs[0]): logits}
    run_calls(behind, tensors)
    return tensors[id(output)], name


def with_classes(model, num_classes):
    """The same network with a new linear layer that tells other classes apart.

    The new layer reads what the layer that makes the logits does. All layers below it are
    `model`'s own.

    Args:
        model: functional `keras.Model` of one output, logits `(batch, classes)`, made by a
            `keras.layers.Dense`, or by a 1×1 `keras.layers.Conv2D` on a map of 1×1.
        num_classes: how many classes the new layer tells apart, 2 or more.

    Returns:
        A functional `keras.Model`.

    Raises:
        InputError: what `without_final_activation` raises; logits that another layer makes.

    Example:
        >>> model = keras.applications.MobileNetV2(classifier_activation=None)
        >>> with_classes(model, 10).output.shape
        (None, 10)
    """
    check_whole("num_classes", num_classes, least=2)
    model, _ = without_final_activation(model)
    maker = _maker(model.outputs[0])
    layer, features = maker.operation, maker.input_tensors[0]
    if not isinstance(layer, _WITH_KERNEL) or tuple(features.shape[1:-1]) not in ((), (1, 1)):
        raise InputError(
            "The logits of a network that is to tell other classes apart must be made by a linear "
            f"layer on features of one place. Received: {layer.name!r}, a {type(layer).__name__} "
            f"on {tuple(features.shape)}."
        )
    name = f"{layer.name}_of_{num_classes}_classes"
    if len(features.shape) > 2:
        features = keras.layers.Flatten(name=f"{name}_features")(features)
    logits = keras.layers.Dense(num_classes, dtype="float32", name=name)(features)
    return keras.Model(model.input, logits, name=model.name)


def classifier_graph(model):
    """The functional model of a classifier with one output, nested models opened up.

    Args:
        model: functional `keras.Model` or `keras.Sequential` of one output `(batch, classes)`.

    Raises:
        InputError: it is not.
    """
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    if not is_functional(model):
        raise InputError(
            "A classifier must be a functional or sequential keras.Model. "
            f"Received: {type(model).__name__}."
        )
    shapes = [tuple(output.shape) for output in model.outputs]
    if isinstance(model.output, dict) or len(shapes) != 1:
        raise InputError(
            f"A classifier must have one output, its logits. Received: {len(shapes)} outputs."
        )
    if len(shapes[0]) != 2 or shapes[0][1] is None or shapes[0][1] < 2:
        raise InputError(
            "The output of a classifier must be (batch, classes), of two classes or more. "
            f"Received: the shape {shapes[0]}."
        )
    return open_nested(model)


def _maker(tensor):
    """The last call that does more than move numbers."""
    node, _ = _last_computing_call(tensor)
    if node is None:
        raise InputError("A classifier must have a layer that makes its logits. Received: none.")
    return node


def _last_computing_call(tensor):
    """The last call that does more than move numbers, or None, and the calls behind it in order."""
    behind = []
    node = producer(tensor)
    while not node.is_input and _moves(node.operation):
        behind.insert(0, node)
        node = producer(node.input_tensors[0])
    return None if node.is_input else node, behind


def _moves(operation):
    is_linear_activation = (
        isinstance(operation, keras.layers.Activation)
        and operation.activation is keras.activations.linear
    )
    return isinstance(operation, _MOVING) or is_linear_activation


def _probabilities_of(node):
    """Whether a call ends in a softmax over its last axis or a sigmoid, and in which."""
    operation = node.operation
    if isinstance(operation, keras.layers.Softmax | SOFTMAX):
        return "softmax" if operation.axis in (-1, len(node.outputs[0].shape) - 1) else None
    if isinstance(operation, SIGMOID):
        return "sigmoid"
    if isinstance(operation, (keras.layers.Activation, *_WITH_KERNEL)):
        for name in _TAKEN_OFF:
            if operation.activation is getattr(keras.activations, name):
                return name
    return None


def _check_linear(operation):
    """Refuses a last operation whose numbers are no logits, or may be none."""
    activation = getattr(operation, "activation", keras.activations.linear)
    is_linear = isinstance(operation, _WITH_KERNEL) and activation is keras.activations.linear
    if is_linear or isinstance(operation, _LINEAR):
        return
    with_activation = ""
    if activation is not keras.activations.linear:
        with_activation = f" with {getattr(activation, '__name__', activation)!r}"
    raise InputError(
        "A classifier must end in a linear layer, or in a softmax over its classes or a sigmoid "
        "behind one, which are taken off. "
        f"Received: {operation.name!r}, a {type(operation).__name__}{with_activation}."
    )
