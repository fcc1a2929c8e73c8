"""Batch normalisation folded into the convolutions before it, for inference."""

import keras
import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.graph.calls import calls_before, is_functional, open_nested, run_calls
from tf_adaptive.graph.keras_internals import producer
from tf_adaptive.layers import ConvUnit

# Of an answer's norm: what float32 loses in a hundred layers, and what 8 bits of bfloat16 may.
_ROUNDING, _HALF_ROUNDING = 1e-3, 0.5
# Images that are changed by this share stand for the same images rounded otherwise; a folded
# network's roundings are so many times as many.
_LAST_BITS, _MOST_SPREADS = 1e-6, 10
# Pixels a side where a model takes images of any size.
_ANY_SIZE = 64

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)


def fold_batch_norm(model, *, dtype=None):
    """The same network for inference, its batch norms made part of the convolutions.

    In inference a batch norm is γ (x − μ) / √(σ² + ε) + β with constants, so the convolution
    before it can have a kernel times γ / √(σ² + ε) and a bias of its own (Jacob et al. 2018,
    section 3.2). That is done in every `ConvUnit`, and to every `Conv2D`, `DepthwiseConv2D` and
    `Dense` without activation that one batch norm reads and nothing else. Layers keep their names,
    so stages and costs are the network's, and other batch norms stay. Logits differ by rounding
    alone.

    Args:
        model: functional `keras.Model`; nested models are opened up.
        dtype: dtype policy of the layers, such as "bfloat16", which halves the weights; None for
            the policies they have. Layers that give an output of the model keep theirs.

    Returns:
        A functional `keras.Model` with weights of its own, for inference only. `model` is left as
        it is.

    Raises:
        InputError: the model is not functional, a layer has weights that its configuration does not
            make, or a copy of one does not answer as it does: the result is compared with the
            model on two random images.

    Example:
        >>> folded = ta.fold_batch_norm(model)
        >>> len(folded.outputs)
        4
    """
    if not is_functional(model):
        raise InputError(f"`model` must be a functional keras.Model. Received: {model!r}.")
    model = open_nested(model)
    calls = calls_before(model.outputs)
    folded_into = _norms_to_fold(model, calls)
    folded_norms = {id(norm) for norm in folded_into.values()}
    kept_policy = {id(producer(tensor).operation) for tensor in model.outputs}
    copies = {}

    def call(operation, args, kwargs):
        if id(operation) in folded_norms:
            return args[0] if args else kwargs["inputs"]
        if not isinstance(operation, keras.Layer) or isinstance(operation, keras.layers.Lambda):
            return operation(*args, **kwargs)
        is_new = id(operation) not in copies
        if is_new:
            policy = None if id(operation) in kept_policy else dtype
            norm = folded_into.get(id(operation))
            copies[id(operation)] = _copied(operation, norm, policy)
        outputs = copies[id(operation)](*args, **kwargs)
        if is_new:
            copy = copies[id(operation)]
            _set_weights(copy, _weights(operation, folded_into.get(id(operation))))
            # What a layer computed of its weights (an adapted Normalization) is made anew.
            if hasattr(copy, "finalize_state"):
                copy.finalize_state()
                outputs = copy(*args, **kwargs)
        return outputs

    inputs = keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=tensor.shape, dtype=tensor.dtype, name=producer(tensor).operation.name
        ),
        model.input,
    )
    tensors = dict(zip(map(id, model.inputs), keras.tree.flatten(inputs), strict=True))
    run_calls(calls, tensors, call)
    outputs = keras.tree.map_structure(lambda tensor: tensors[id(tensor)], model.output)
    folded = keras.Model(inputs, outputs, name=model.name)
    _check_same_answers(model, folded)
    return folded


def fold_drnet(model, *, dtype=None):
    """The networks of a DRNet, each with its batch norms folded.

    What the branches shared is each branch's own then: a batch norm changes the kernel it is folded
    into.

    Args:
        model: `tf_adaptive.DRNet`.
        dtype: as for `fold_batch_norm`.

    Returns:
        `(predictor, branches)`: a functional model, and a list of one per resolution.
    """
    predictor, *branches = (
        fold_batch_norm(network, dtype=dtype) for network in (model.predictor, *model.branches)
    )
    return predictor, branches


def _check_same_answers(model, folded):
    """Refuses a folded network that does not answer as its model does."""
    rng = np.random.default_rng(0)
    given = [_random_images(tensor, rng) for tensor in model.inputs]
    # How far the model itself spreads a rounding: some networks do to a multiple of the answer.
    nearly = [
        (images * (1 + _LAST_BITS * rng.standard_normal(images.shape))).astype(images.dtype)
        for images in given
    ]
    answers = [
        keras.tree.flatten(
            network(keras.tree.pack_sequence_as(network.input, images), training=False)
        )
        for network, images in ((model, given), (model, nearly), (folded, given))
    ]
    layers = [*model.layers, *folded.layers]
    is_halved = any(layer.compute_dtype != "float32" for layer in layers)
    rounding = _HALF_ROUNDING if is_halved else _ROUNDING
    for outputs in zip(*answers, strict=True):
        for row, near, other in zip(*map(_rows, outputs), strict=True):
            difference, size = np.linalg.norm(row - other), np.linalg.norm(row)
            spread = _MOST_SPREADS * np.linalg.norm(row - near)
            if np.isfinite(size) and not difference <= rounding * size + spread:
                raise InputError(
                    "`model` must be made of layers that can be copied by their configuration and "
                    f"weights. Received: {model.name!r}, whose folded network answers otherwise, "
                    f"by {difference / size:.2g} of the answer."
                )


def _random_images(tensor, rng):
    """One of numbers around 0 and one of pixels up to 255, of an input's shape and dtype."""
    shape = [_ANY_SIZE if size is None else size for size in tensor.shape[1:]]
    values = np.stack([rng.standard_normal(shape), rng.uniform(0, 255, shape)])
    return np.resize(values, (tensor.shape[0] or 2, *shape)).astype(tensor.dtype)


def _rows(answer):
    return np.asarray(keras.ops.cast(answer, "float32"), "float64").reshape(len(answer), -1)


def _norms_to_fold(model, calls):
    """`id` of each layer to fold into → the batch norm that goes."""
    calls_of, readers = {}, {}
    for node in calls:
        calls_of.setdefault(id(node.operation), []).append(node)
        for tensor in node.input_tensors:
            readers.setdefault(id(tensor), []).append(node)
    outputs = set(map(id, model.outputs))
    folded_into = {}
    for node in calls:
        layer, result = node.operation, node.outputs[0]
        if isinstance(layer, ConvUnit) and layer.normalized and not _is_training(node):
            folded_into[id(layer)] = layer.batch_normalization
        if type(layer) not in _CONVOLUTIONS or id(result) in outputs:
            continue
        reading = readers.get(id(result), [])
        if (
            layer.activation is keras.activations.linear
            and getattr(layer, "data_format", "channels_last") == "channels_last"
            # A kernel with something added to it, as of LoRA, is not all that the layer holds.
            and len(layer.weights) == 1 + layer.use_bias
            and len(calls_of[id(layer)]) == 1
            and len(reading) == 1
            and _normalizes_last_axis(reading[0])
            and len(calls_of[id(reading[0].operation)]) == 1
        ):
            folded_into[id(layer)] = reading[0].operation
    return folded_into


def _normalizes_last_axis(node):
    """Whether a call is a batch norm over channels that does not use its batch's statistics."""
    return (
        isinstance(node.operation, keras.layers.BatchNormalization)
        and node.operation.axis in (-1, len(node.outputs[0].shape) - 1)
        and not _is_training(node)
        and node.arguments.kwargs.get("mask") is None
    )


def _is_training(node):
    return bool(node.arguments.kwargs.get("training"))


def _copied(layer, norm, dtype):
    """A layer of the same arguments, or those it takes to hold the batch norm too."""
    config = layer.get_config()
    if norm is not None:
        config["use_bias"] = True
        if isinstance(layer, ConvUnit):
            config["normalized"] = False
    if dtype is not None:
        config["dtype"] = dtype
    return type(layer).from_config(config)


def _set_weights(copy, weights):
    shapes = [tuple(weight.shape) for weight in copy.weights]
    if shapes != [array.shape for array in weights]:
        raise InputError(
            "`model` must be made of layers whose configuration makes all their weights. "
            f"Received: {copy.name!r}, whose weights are others."
        )
    copy.set_weights(weights)


def _weights(layer, norm):
    if norm is None:
        return layer.get_weights()
    convolution = layer.convolution if isinstance(layer, ConvUnit) else layer
    kernel = np.asarray(convolution.kernel, "float64")
    bias = np.asarray(convolution.bias, "float64") if convolution.use_bias else 0.0
    scale = 1 / np.sqrt(np.asarray(norm.moving_variance, "float64") + norm.epsilon)
    if norm.scale:
        scale = scale * np.asarray(norm.gamma, "float64")
    bias = (bias - np.asarray(norm.moving_mean, "float64")) * scale
    if norm.center:
        bias = bias + np.asarray(norm.beta, "float64")
    if isinstance(convolution, keras.layers.DepthwiseConv2D):
        # One kernel per channel and multiple: (height, width, channels, multiples).
        scale = scale.reshape(kernel.shape[2:])
    return [kernel * scale, bias]
