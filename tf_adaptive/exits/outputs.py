"""The exits of a functional model, checked."""

import keras

from tf_adaptive.errors import InputError
from tf_adaptive.graph.calls import is_functional


def with_exits(model, numbers):
    """A model with some of its exits on, and nothing that only the others need.

    Args:
        model: functional `keras.Model` with K exits.
        numbers: those of the exits to keep, from 1, rising.

    Returns:
        A functional `keras.Model` that shares the layers; `model` itself where all are kept.
    """
    exits = keras.tree.flatten(model.output)
    if len(numbers) == len(exits):
        return model
    kept = [exits[number - 1] for number in numbers]
    return keras.Model(model.input, kept, name=model.name)


def exit_tensors(model, *, least=1):
    """The exits of a functional model, cheapest first, checked.

    Args:
        model: functional `keras.Model` whose outputs are a list of K logits `(batch, classes)`;
            one alone may come without a list.
        least: how many exits there must be.

    Returns:
        List of K symbolic tensors.

    Raises:
        InputError: the model is not functional, has fewer than `least` outputs, a dictionary of
            outputs (whose order would be that of the text of its keys), or outputs that are not
            logits over the same classes.
    """
    if not is_functional(model):
        raise InputError(
            "`model` must be a functional keras.Model whose outputs are its exits. "
            f"Received: {type(model).__name__}."
        )
    structure = model.output
    if isinstance(structure, dict):
        raise InputError(
            "`model` must give its exits as a list, in order of cost. "
            f"Received: a dictionary of {sorted(structure)}."
        )
    exits = keras.tree.flatten(structure)
    if len(exits) < least:
        raise InputError(
            f"`model` must have {least} outputs or more, one per exit. "
            f"Received: {model.name!r} with {len(exits)}."
        )
    shapes = [tuple(logits.shape) for logits in exits]
    if any(len(shape) != 2 or shape[1] is None or shape[1] < 2 for shape in shapes):
        raise InputError(
            "Every output of `model` must be logits of shape (batch, classes), of two classes or "
            f"more. Received: shapes {shapes}."
        )
    if len({classes for _, classes in shapes}) > 1:
        raise InputError(
            "All outputs of `model` must have the same number of classes. "
            f"Received: {[classes for _, classes in shapes]}."
        )
    return exits
