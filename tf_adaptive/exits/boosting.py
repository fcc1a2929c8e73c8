"""Boosted exits: every exit adds to what the exits before it have answered."""

import keras

from tf_adaptive.exits.outputs import exit_tensors
from tf_adaptive.graph.calls import open_nested
from tf_adaptive.layers import BoostedSum, StopGradient


def with_boosting(model, *, weight=0.5):
    """The same network with boosted exits (Yu et al. 2023, Boosted Dynamic Neural Networks).

    Exit k answers F_k = f_k + w · F_{k−1}, f_k the logits that it has of its own: as in gradient
    boosting it learns what the exits before it have left wrong. No gradient flows into F_{k−1}.
    There are no weights but the network's own; each stage hands on one exit's logits more. As
    published it is trained together with Gradient Equilibrium, which goes on top of it.

    Args:
        model: functional `keras.Model` with K ≥ 2 exits, as `split_stages` takes.
        weight: w, a finite number of 0 or more; the published one is 0.5.

    Returns:
        A functional `keras.Model` with K exits that shares all layers, and so all weights.

    Raises:
        InputError: what `split_stages` raises of the outputs; a `weight` out of range.

    Example:
        >>> boosted = ta.with_boosting(model)
        >>> len(boosted.outputs)
        4
    """
    exit_tensors(model, least=2)
    opened = open_nested(model)
    first, *others = opened.outputs
    answers = [first]
    for number, own in enumerate(others, start=2):
        name = f"exit_{number}_boosted"
        before = StopGradient(dtype=own.dtype, name=f"{name}_from")(answers[-1])
        answers.append(BoostedSum(weight, dtype=own.dtype, name=name)([own, before]))
    return keras.Model(opened.input, answers, name=model.name)
