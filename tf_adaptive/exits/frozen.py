"""Exits trained on a network that stays as it is: its features once, the exits on them."""

import keras

from tf_adaptive.exits.linear_exits import split_heads
from tf_adaptive.exits.outputs import exit_tensors
from tf_adaptive.graph.calls import calls_before


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
    read = {id(tensor) for node in calls_before(exits, frozen) for tensor in node.input_tensors}
    features = [tensor for tensor in frozen if id(tensor) in read and tensor is not last]
    backbone, heads = split_heads(model, [*features, last])
    teacher = keras.Model(heads.input, heads.outputs[-1], name=f"{model.name}_teacher")
    return backbone, heads, teacher
