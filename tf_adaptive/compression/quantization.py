"""Networks that compute with 8-bit numbers, to be trained before they are converted.

tfmot's way to quantization-aware training, `quantize_model`, takes models of the former Keras only
and gives each layer a range of its own. Here the layers of the Keras 3 graph itself stand between
the fake quantization of TensorFlow, the operations that tfmot inserts too and that the TFLite
converter reads ranges from. So the training loop, checkpoints and stages are those of every other
network, and maps that a concatenation joins have one range, as in TFLite: joining them costs
nothing there and rounds nothing.
"""

import keras
import numpy as np

from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.errors import InputError
from tf_adaptive.exits.outputs import exit_tensors
from tf_adaptive.graph.calls import calls_before, run_calls
from tf_adaptive.graph.keras_internals import producer
from tf_adaptive.layers import (
    BilinearResize,
    ConvUnit,
    FakeQuantize,
    FakeQuantizedConvUnit,
    FakeQuantizedDense,
    StopGradient,
)

# Layers whose kernel is rounded too.
_WITH_KERNEL = {ConvUnit: FakeQuantizedConvUnit, keras.layers.Dense: FakeQuantizedDense}
# They hand numbers on as they are,
_MOVING = (
    keras.layers.Concatenate,
    keras.layers.Flatten,
    keras.layers.MaxPooling2D,
    StopGradient,
)
# or give numbers between them. In TFLite, what either take and give has one range.
_AVERAGING = (keras.layers.AveragePooling2D, BilinearResize)
_BATCH_SIZE = 100


def with_quantization(model, images):
    """The network in the 8-bit arithmetic of its TFLite files, to be trained further.

    Batch norms are folded first, see `fold_batch_norm`: the kernels that are rounded are those the
    files hold, and the statistics stay what they are. Then kernels and feature maps are rounded as
    `fake_quantized_kernel` and `FakeQuantize` say, biases are not. The range of a map is from the
    smallest to the largest number that it, and those it is joined with, have on `images`. It stays,
    and training fits the weights to it.

    Args:
        model: functional `keras.Model` with one input and K exits, as `split_stages` takes, made of
            `ConvUnit`s, linear layers, ReLUs, poolings, bilinear resizings and concatenations, as
            MSDNet, RANet and what `with_collaboration` makes of them are.
        images: float32 `(images, height, width, channels)`, normalised training images.

    Returns:
        A functional `keras.Model` with K exits, weights of its own, and the same stages; float32.

    Raises:
        InputError: what `split_stages` raises of the outputs; a layer of another kind, or one that
            is called twice; a network that is quantized already; no images.

    Example:
        >>> calibration_images = data.batches("validation", 32).take(1)
        >>> images, _ = next(iter(calibration_images))
        >>> len(ta.with_quantization(model, images.numpy()).outputs)
        4
    """
    exit_tensors(model)
    if is_quantized(model):
        raise InputError("`model` must be a network in float32. Received: one in 8 bits already.")
    if len(images) == 0:
        raise InputError("`images` must be one image or more. Received: none.")
    model = fold_batch_norm(model, dtype="float32")
    calls = calls_before(model.outputs)
    _check_calls(model, calls)
    rounded = _rounded_tensors(model, calls)
    ranges = _ranges(model, rounded, _joined_tensors(model, calls), images)

    def rounded_to_range(tensor, value):
        quantizer = FakeQuantize(name=f"{producer(tensor).operation.name}_quantized")
        value = quantizer(value)
        quantizer.set_range(*ranges[id(tensor)])
        return value

    (old_input,) = model.inputs
    new_input = keras.Input(batch_shape=old_input.shape, name=producer(old_input).operation.name)
    tensors = {id(old_input): rounded_to_range(old_input, new_input)}
    for node in calls:
        run_calls([node], tensors, _called_with_8_bits)
        (output,) = node.outputs
        if id(output) in ranges:
            tensors[id(output)] = rounded_to_range(output, tensors[id(output)])
    outputs = [tensors[id(logits)] for logits in model.outputs]
    return keras.Model(new_input, outputs, name=model.name)


def is_quantized(model):
    """Whether a model is one that `with_quantization` gave, or a copy of one."""
    return any(isinstance(layer, FakeQuantize) for layer in model.layers)


def quantizer_of(tensor):
    """The `FakeQuantize` whose numbers a symbolic tensor has; None if there is none before it."""
    while not isinstance(producer(tensor).operation, FakeQuantize):
        if producer(tensor).is_input:
            return None
        tensor = producer(tensor).input_tensors[0]
    return producer(tensor).operation


def _check_calls(model, calls):
    if len(model.inputs) > 1:
        raise InputError(
            f"`model` must have one input, images. Received: {len(model.inputs)} inputs."
        )
    known, called = (*_WITH_KERNEL, *_MOVING, *_AVERAGING, keras.layers.ReLU), set()
    for node in calls:
        layer = node.operation
        if type(layer) not in known or id(layer) in called:
            what = "called twice" if id(layer) in called else f"a {type(layer).__name__}"
            raise InputError(
                "A network to be quantized must be made of the layers of MSDNet and RANet, each "
                f"called once. Received: {layer.name!r}, {what}."
            )
        called.add(id(layer))


def _called_with_8_bits(layer, args, kwargs):
    """Calls a copy of a layer, of the kind that rounds its kernel where it has one."""
    copy = _WITH_KERNEL.get(type(layer), type(layer)).from_config(layer.get_config())
    outputs = copy(*args, **kwargs)
    copy.set_weights(layer.get_weights())
    return outputs


def _rounded_tensors(model, calls):
    """The tensors to be rounded: images, and what is no number that was rounded before."""
    readers = {}
    for node in calls:
        for tensor in node.input_tensors:
            readers.setdefault(id(tensor), []).append(type(node.operation))
    return [
        *model.inputs,
        *(
            node.outputs[0]
            for node in calls
            if not isinstance(node.operation, _MOVING)
            # TFLite computes a linear layer and the ReLU after it in one.
            and readers.get(id(node.outputs[0])) != [keras.layers.ReLU]
        ),
    ]


def _joined_tensors(model, calls):
    """`id` of each tensor → list of the `id`s of those that have its range, itself included."""
    joined = {id(tensor): [id(tensor)] for tensor in model.inputs}
    for node in calls:
        output = id(node.outputs[0])
        joined[output] = [output]
        if isinstance(node.operation, (*_MOVING, *_AVERAGING)):
            for tensor in node.input_tensors:
                if joined[id(tensor)] is not joined[output]:
                    together = joined[id(tensor)] + joined[output]
                    joined.update(dict.fromkeys(together, together))
    return joined


def _ranges(model, rounded, joined, images):
    """`id` of each tensor to be rounded → the smallest and the largest number in its range."""
    measured = keras.Model(model.inputs[0], rounded)
    bounds = np.array(
        [
            [(np.min(values), np.max(values)) for values in measured(images[i : i + _BATCH_SIZE])]
            for i in range(0, len(images), _BATCH_SIZE)
        ]
    )
    smallest, largest = bounds[..., 0].min(axis=0), bounds[..., 1].max(axis=0)
    places = {id(tensor): place for place, tensor in enumerate(rounded)}
    ranges = {}
    for key in places:
        together = [places[other] for other in joined[key] if other in places]
        ranges[key] = (smallest[together].min(), largest[together].max())
    return ranges
