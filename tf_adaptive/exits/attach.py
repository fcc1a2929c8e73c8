"""Exits on a trained classifier: the multi-exit network that it is the last exit of."""

import difflib
import re
import warnings

import keras

from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.exits.heads import HEADS, conv_head, linear_head
from tf_adaptive.exits.places import places_with_tensors
from tf_adaptive.graph.final_activation import without_final_activation

_TOKENS = ("mean", "first")


def attach_exits(model, num_exits=4, *, at=None, head="linear", tokens="mean"):
    """A classifier with exits along its graph, random ones; the last is its own.

    The last exit's logits are those of `model`, bit for bit: every layer is shared with it, and a
    softmax or sigmoid at its end is taken off, with a warning that says so.

    Args:
        model: functional or sequential `keras.Model` with one output `(batch, classes)`, such as
            one of `keras.applications`; see `exit_places`.
        num_exits: how many exits, 2 or more, the last one included; the others stand at the places
            nearest to equal shares of the MACs.
        at: names of the layers whose output the other exits read, as `exit_places` has them, in
            any order; None for `num_exits`.
        head: what an exit is: "linear", global average pooling and a linear layer; "conv", with a
            depthwise-separable unit before it; or a function from symbolic features
            `(batch, height, width, channels)` to symbolic logits `(batch, classes)`.
        tokens: what an exit reads of a transformer's `(batch, tokens, channels)`: "mean", the mean
            over all tokens; "first", the class token.

    Returns:
        Functional `keras.Model` with a list of K logits `(batch, classes)`, cheapest exit first.

    Raises:
        InputError: what `exit_places` refuses; outputs that are no logits and cannot be made so;
            fewer places than exits asked for; a layer that is no place; a function that gives
            something else.

    Example:
        >>> import keras, tf_adaptive as ta
        >>> backbone = keras.applications.MobileNetV2(
        ...     (96, 96, 3), alpha=0.35, weights=None, classes=10, classifier_activation=None)
        >>> model = ta.attach_exits(backbone, num_exits=3)
        >>> [tuple(logits.shape) for logits in model.outputs]
        [(None, 10), (None, 10), (None, 10)]
    """
    if not callable(head):
        check_choice("head", head, HEADS)
    check_choice("tokens", tokens, _TOKENS)
    graph, activation = without_final_activation(model)
    if activation is not None:
        warnings.warn(
            f"The {activation} at the end of {model.name!r} is taken off: exits give logits",
            stacklevel=2,
        )
    _check_names(graph)
    places = places_with_tensors(graph)
    if not places:
        raise InputError(
            "`model` must have a place for an exit, a feature map on which all that comes later "
            f"depends. Received: {model.name!r}, whose graph has none."
        )
    if at is None:
        check_whole("num_exits", num_exits, least=2)
        chosen = _nearest_to_equal_shares(places, num_exits, model.name)
    else:
        chosen = _named(places, at, graph)
    logits = graph.outputs[0]
    exits = []
    for number, (place, features) in enumerate(chosen, start=1):
        exit_logits = _called(head, tokens, features, logits.shape[-1], number)
        if tuple(exit_logits.shape) != tuple(logits.shape):
            raise InputError(
                f"`head` must give logits of shape {tuple(logits.shape)}, as the last exit does. "
                f"Received: {tuple(exit_logits.shape)} at {place.layer!r}."
            )
        exits.append(exit_logits)
    return keras.Model(graph.input, [*exits, logits], name=model.name)


def _called(head, tokens, features, num_classes, number):
    name = f"exit_{number}"
    if callable(head):
        return head(features)
    if head == "conv":
        if len(features.shape) != 4:
            raise InputError(
                "`head` must be 'linear' or a function where an exit reads tokens. "
                f"Received: head={head!r}."
            )
        return conv_head(features, num_classes, name=name)
    return linear_head(features, num_classes, name=name, tokens=tokens)


def _nearest_to_equal_shares(places, num_exits, name):
    """A place for each exit but the last, in order, each nearest to its share of the MACs."""
    if len(places) < num_exits - 1:
        raise InputError(
            f"There must be at most {len(places) + 1} exits on {name!r}, whose graph has "
            f"{len(places)} places for them. Received: {num_exits} exits."
        )
    chosen, first = [], 0
    for number in range(1, num_exits):
        # Enough places are left for the exits that come.
        free = range(first, len(places) - (num_exits - 1 - number))
        share = number / num_exits
        nearest = min(free, key=lambda index: abs(places[index][0].macs_share - share))
        chosen.append(places[nearest])
        first = nearest + 1
    return chosen


def _named(places, names, model):
    if isinstance(names, str) or not names:
        raise InputError(f"`at` must be a list of names of layers. Received: at={names!r}.")
    found = {place.layer: index for index, (place, _) in enumerate(places)}
    for name in names:
        if name in found:
            continue
        layers = [layer.name for layer in model.layers]
        if name in layers:
            near = _nearest_place(name, places, model)
            raise InputError(
                "Exits must stand where one or two feature maps are all that is handed on, see "
                f"`exit_places`. Received: {name!r}, no such place; the nearest is {near!r}."
            )
        near = difflib.get_close_matches(name, [*found, *layers], n=1, cutoff=0.0)
        raise InputError(
            f"Exits must stand at layers of the model. Received: {name!r}. "
            f"Did you mean {near[0]!r}?"
        )
    indices = sorted(found[name] for name in names)
    if len(set(indices)) < len(indices):
        raise InputError(
            f"Each exit must stand at a layer of its own. Received: {', '.join(names)}."
        )
    return [places[index] for index in indices]


def _nearest_place(name, places, model):
    """The place whose layer comes next to the one called `name` in the order of the layers."""
    order = [layer.name for layer in model.layers]
    known = [place.layer for place, _ in places if place.layer in order]
    return min(known, key=lambda layer: abs(order.index(layer) - order.index(name)), default=None)


def _check_names(graph):
    taken = [layer.name for layer in graph.operations if re.match(r"exit_\d+(_|$)", layer.name)]
    if taken:
        raise InputError(
            "Layers of `model` must not be called as those of exits are, exit_1 and so on. "
            f"Received: {taken[0]!r}."
        )
