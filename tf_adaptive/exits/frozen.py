"""Exits trained on a network that stays as it is: its features once, the exits on them."""

import keras
import numpy as np

from tf_adaptive.graph import calls_before, exit_tensors, run_calls


def split_frozen(model):
    """Cuts a network with exits in what its last exit needs, frozen, and the other exits.

    What only the exits before the last need is trained; the poolings and other operations without
    variables that they begin with are the frozen part's, so that its features are small.

    Args:
        model: functional `keras.Model` with K ≥ 2 exits and one image input, such as
            `attach_exits` gives, without nested models.

    Returns:
        `(backbone, heads, teacher)`, functional models that share the layers: from images to all
        that the exits read side by side, the last exit's logits at the end,
        float32 `(batch, features)`; from there to the list of K logits, the last one handed
        through; and from there to the last exit's logits alone.
    """
    *exits, last = exit_tensors(model)
    trunk = calls_before([last])
    frozen = [*model.inputs, *(tensor for node in trunk for tensor in node.outputs)]
    for node in calls_before(exits, frozen):
        known = set(map(id, frozen))
        # A layer that draws numbers, such as Dropout, has variables too: those of its seed.
        if not getattr(node.operation, "variables", []) and all(
            id(tensor) in known for tensor in node.input_tensors
        ):
            frozen.extend(node.outputs)
    calls = calls_before(exits, frozen)
    read = {id(tensor) for node in calls for tensor in node.input_tensors}
    features = [tensor for tensor in frozen if id(tensor) in read or tensor is last]
    # The last exit's logits at the end.
    features = [*(tensor for tensor in features if tensor is not last), last]
    flat = [keras.layers.Flatten(dtype="float32")(tensor) for tensor in features]
    backbone = keras.Model(
        model.input, keras.layers.Concatenate(dtype="float32")(flat), name=f"{model.name}_backbone"
    )
    inputs = keras.Input(backbone.output_shape[1:], name="features")
    places = np.cumsum([tensor.shape[-1] for tensor in flat])[:-1].tolist()
    parts = keras.ops.split(inputs, places, axis=-1)
    tensors = {
        id(tensor): keras.ops.cast(keras.ops.reshape(part, (-1, *tensor.shape[1:])), tensor.dtype)
        for tensor, part in zip(features, parts, strict=True)
    }
    run_calls(calls, tensors)
    logits = [tensors[id(tensor)] for tensor in [*exits, last]]
    heads = keras.Model(inputs, logits, name=f"{model.name}_heads")
    return backbone, heads, keras.Model(inputs, logits[-1], name=f"{model.name}_teacher")
