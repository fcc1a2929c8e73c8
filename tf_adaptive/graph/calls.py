"""The calls a functional Keras model is made of, in order, nested models opened up."""

import inspect

import keras

from tf_adaptive.graph.keras_internals import (
    functional_of,
    is_its_graph,
    producer,
    set_order,
    takes_training,
    under_name,
)


def calls_before(targets, sources=()):
    """The calls that compute `targets` from `sources` and from inputs, in an order that runs.

    Args:
        targets: symbolic tensors wanted.
        sources: symbolic tensors that are there already.

    Returns:
        List of Keras nodes (`.operation`, `.arguments`, `.input_tensors`, `.outputs`), each after
        those it needs; inputs of the model are not calls.
    """
    available = {id(tensor) for tensor in sources}
    order, seen = [], set()
    pending = [(target, False) for target in reversed(targets)]
    while pending:
        tensor, parents_done = pending.pop()
        node = producer(tensor)
        if id(tensor) in available or id(node) in seen or node.is_input:
            continue
        if parents_done:
            seen.add(id(node))
            order.append(node)
        else:
            pending.append((tensor, True))
            pending.extend((parent, False) for parent in reversed(node.input_tensors))
    return order


def run_calls(calls, tensors, call=lambda operation, args, kwargs: operation(*args, **kwargs)):
    """Runs calls in order on other tensors than those they were recorded on.

    Args:
        calls: nodes as `calls_before` gives them.
        tensors: dictionary from `id` of a recorded tensor to the value to use; extended in place
            by the calls' outputs.
        call: function of an operation, its arguments and its keyword arguments.
    """
    for node in calls:
        args, kwargs = node.arguments.fill_in(tensors)
        outputs = keras.tree.flatten(call(node.operation, args, kwargs))
        tensors.update(zip(map(id, node.outputs), outputs, strict=True))


def call_for_inference(operation, args, kwargs):
    """Calls an operation as inference does, for `run_calls`: nothing is augmented or dropped.

    One that was recorded with a mode other than its default keeps it.
    """
    inference = _understood(operation, {"training": False})
    if inference:
        default = inspect.signature(operation.call).parameters["training"].default
        if kwargs.get("training") in (None, default):
            kwargs = {**kwargs, **inference}
    return operation(*args, **kwargs)


def open_nested(model):
    """The same model with the calls of nested models in place of the nested models.

    Args:
        model: functional model; nested functional and sequential models may nest further.

    Returns:
        `model` itself when nothing is nested, else a functional model that shares all its layers.
        Where layers of nested models have the name of another, they are shared under a numbered
        one.
    """
    if not any(map(is_its_graph, model.layers)):
        return model
    tensors = {id(tensor): tensor for tensor in model.inputs}
    # The model's own layers keep their names.
    own = {
        operation.name: operation for operation in model.operations if not is_its_graph(operation)
    }
    run_calls(calls_before(model.outputs), tensors, _OpenedCalls(own))
    outputs = [tensors[id(tensor)] for tensor in model.outputs]
    return keras.Model(model.input, outputs, name=model.name)


def put_in_layer_order_of(original, model):
    """Puts the layers that `model` shares with `original` into the order they have there.

    Keras orders a model's layers by their distance from the outputs, which a layer put in
    between changes; weights are listed and saved in that order. Layers of `model` alone come
    last.
    """
    places = {id(operation): place for place, operation in enumerate(original.operations)}

    def place(operation):
        return places.get(id(operation), len(places))

    set_order(model, place)


def is_functional(model):
    """Whether it is a functional model that calls its layers and does nothing besides."""
    return isinstance(model, keras.Function) and is_its_graph(model)


class _OpenedCalls:
    """Calls operations, those inside nested models in place of these, each under a name of its own.

    Args:
        names: dictionary from name to the operation that has it.
    """

    def __init__(self, names):
        self._names = names
        self._renamed = {}

    def __call__(self, operation, args, kwargs):
        if not is_its_graph(operation):
            return self._with_own_name(operation)(*args, **kwargs)
        given = args[0] if args else kwargs["inputs"]
        # A nested model was called in training, in inference, or as the model around it is.
        training = {key: kwargs[key] for key in ("training",) if kwargs.get(key) is not None}
        if isinstance(operation, keras.Sequential):
            operation = functional_of(operation)
        if isinstance(given, dict) and not isinstance(operation.input, dict):
            given = [given[tensor.name] for tensor in operation.inputs]
        tensors = {
            # A model gives its inputs their dtype before its first layer sees them.
            id(tensor): value
            if value.dtype == tensor.dtype
            else keras.ops.cast(value, tensor.dtype)
            for tensor, value in zip(operation.inputs, keras.tree.flatten(given), strict=True)
        }

        def call(inner, inner_args, inner_kwargs):
            return self(inner, inner_args, {**inner_kwargs, **_understood(inner, training)})

        run_calls(calls_before(operation.outputs), tensors, call)
        return [tensors[id(tensor)] for tensor in operation.outputs]

    def _with_own_name(self, operation):
        name = operation.name
        if self._names.setdefault(name, operation) is operation:
            return operation
        if id(operation) not in self._renamed:
            number = 2
            while f"{name}_{number}" in self._names:
                number += 1
            renamed = under_name(operation, f"{name}_{number}")
            self._names[renamed.name] = renamed
            # With the operation itself, so that no other one gets its id.
            self._renamed[id(operation)] = (operation, renamed)
        return self._renamed[id(operation)][1]


def _understood(operation, training):
    return training if takes_training(operation) else {}
