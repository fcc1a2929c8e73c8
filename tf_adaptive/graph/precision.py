"""The same network in another arithmetic."""

import keras

from tf_adaptive.graph.calls import calls_before, open_nested, run_calls
from tf_adaptive.graph.keras_internals import producer


def with_dtype(model, dtype):
    """A copy of a network whose layers compute with another dtype.

    Layers that give an output of the model keep theirs: logits stay float32.

    Args:
        model: functional `keras.Model`; nested models are opened up.
        dtype: dtype policy of the layers, such as "mixed_bfloat16".

    Returns:
        A functional `keras.Model` with the same weights, of its own, under the same layer names.

    Example:
        >>> half = with_dtype(model, "mixed_bfloat16")
        >>> copy_weights(half, model)
    """
    model = open_nested(model)
    calls = calls_before(model.outputs)
    kept_policy = {id(producer(tensor).operation) for tensor in model.outputs}
    copies = {}

    def call(operation, args, kwargs):
        if not isinstance(operation, keras.Layer):
            return operation(*args, **kwargs)
        if id(operation) not in copies:
            config = operation.get_config()
            if id(operation) not in kept_policy:
                config["dtype"] = dtype
            copies[id(operation)] = type(operation).from_config(config)
            outputs = copies[id(operation)](*args, **kwargs)
            copies[id(operation)].set_weights(operation.get_weights())
            return outputs
        return copies[id(operation)](*args, **kwargs)

    inputs = [
        keras.Input(
            batch_shape=tensor.shape, dtype=tensor.dtype, name=producer(tensor).operation.name
        )
        for tensor in model.inputs
    ]
    tensors = dict(zip(map(id, model.inputs), inputs, strict=True))
    run_calls(calls, tensors, call)
    outputs = keras.tree.map_structure(lambda tensor: tensors[id(tensor)], model.output)
    given = keras.tree.pack_sequence_as(model.input, inputs)
    return keras.Model(given, outputs, name=model.name)


def copy_weights(source, target):
    """Copies the weights of every layer to the layer of that name.

    Args:
        source, target: functional models, one of them `with_dtype` of the other, or a copy of it.
    """
    for layer in open_nested(target).layers:
        layer.set_weights(open_nested(source).get_layer(layer.name).get_weights())
