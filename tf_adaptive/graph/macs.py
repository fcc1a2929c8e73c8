"""Multiply-accumulates of TensorFlow operations, in the papers' convention.

Convolutions and matrix products count their multiply-accumulates, a linear layer's bias and an
activation one per element, pooling one per element of each window. Normalisation and other
elementwise arithmetic, resizing, padding, concatenation and reshaping count nothing. Every
operation is known by one of these rules; another one is an error.
"""

import math

import keras
import numpy as np
import tensorflow as tf

from tf_adaptive.errors import InputError
from tf_adaptive.graph.calls import call_for_inference, run_calls
from tf_adaptive.graph.keras_internals import layers_within, own_trainable_variables

_ACTIVATIONS = {
    *("Elu", "Erf", "Erfc", "LeakyRelu", "LogSoftmax", "Relu", "Relu6", "Selu", "Sigmoid"),
    *("Softmax", "Softplus", "Softsign", "Tanh"),
}
_FREE = {
    # Batch normalisation and elementwise arithmetic.
    *("FusedBatchNormV3", "Abs", "Add", "AddN", "AddV2", "Cast", "Div", "DivNoNan", "Exp"),
    *("Greater", "GreaterEqual", "Less", "LessEqual", "Log", "LogicalAnd", "LogicalNot"),
    *("Maximum", "Minimum", "Mul", "Neg", "Pow", "RealDiv", "Reciprocal", "Rsqrt", "SelectV2"),
    *("Sqrt", "Square", "SquaredDifference", "StopGradient", "Sub", "Sum", "IdentityN"),
    # Rounding to 8 bits, which integer arithmetic has no operation for.
    *("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"),
    # Reading variables and moving data.
    *("Const", "Identity", "NoOp", "Placeholder", "ReadVariableOp", "BatchToSpaceND"),
    *("ConcatV2", "DepthToSpace", "ExpandDims", "Fill", "GatherV2", "MirrorPad", "Pack", "Pad"),
    *("PadV2", "Prod", "Range", "Reshape", "ResizeArea", "ResizeBicubic", "ResizeBilinear"),
    *("ResizeNearestNeighbor", "ReverseV2", "Roll", "Shape", "Slice", "SpaceToBatchND"),
    *("SpaceToDepth", "Split", "SplitV", "Squeeze", "StridedSlice", "Tile", "Transpose"),
    *("Unpack", "BroadcastTo", "BroadcastArgs", "Equal", "NotEqual", "OnesLike", "ZerosLike"),
}
_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}


def operation_macs(operation, asked_by):
    """Multiply-accumulates of one operation of a traced graph, for one image.

    Args:
        operation: a `tf.Operation` of static shapes, batch 1.
        asked_by: name of the layer it belongs to, for the error.

    Returns:
        int.

    Raises:
        InputError: there is no rule for the operation, or its shape is not known.
    """
    kind = operation.type
    if kind in _FREE:
        return 0
    if kind in _ACTIVATIONS:
        return _size(operation.outputs[0], asked_by)
    if kind in _CALLS:
        body = operation.graph._get_function(operation.get_attr("f").name).graph
        return sum(operation_macs(inner, asked_by) for inner in body.get_operations())
    if kind in _RULES:
        return _RULES[kind](operation, asked_by)
    raise InputError(
        f"`model` must be made of operations whose cost is known. Received: {kind!r} "
        f"({operation.name!r}) in the layer {asked_by!r}."
    )


def _convolution(operation, asked_by):
    height, width, inputs_of_a_group, _ = operation.inputs[1].shape
    return _size(operation.outputs[0], asked_by) * height * width * inputs_of_a_group


def _depthwise_convolution(operation, asked_by):
    height, width, _, _ = operation.inputs[1].shape
    return _size(operation.outputs[0], asked_by) * height * width


def _transposed_convolution(operation, asked_by):
    height, width, outputs, _ = operation.inputs[1].shape
    return _size(operation.inputs[2], asked_by) * height * width * outputs


def _matrix_product(operation, asked_by):
    transposed = "transpose_a" if operation.type == "MatMul" else "adj_x"
    summed = operation.inputs[0].shape[-2 if operation.get_attr(transposed) else -1]
    return _size(operation.outputs[0], asked_by) * summed


def _einsum(operation, asked_by):
    operands, result = operation.get_attr("equation").decode().split("->")
    sizes = {}
    for labels, operand in zip(operands.split(","), operation.inputs, strict=True):
        # The axes that "..." stands for are in the result too.
        first, _, last = labels.partition("...")
        sizes.update(zip(first, operand.shape, strict=False))
        sizes.update(zip(reversed(last), reversed(operand.shape), strict=False))
    summed = [size for label, size in sizes.items() if label not in result]
    return _size(operation.outputs[0], asked_by) * math.prod(summed)


def _bias(operation, asked_by):
    # Of a linear layer: the papers leave a convolution's bias out.
    return _size(operation.outputs[0], asked_by) if len(operation.outputs[0].shape) == 2 else 0


def _window(operation, asked_by):
    return _size(operation.outputs[0], asked_by) * math.prod(operation.get_attr("ksize"))


def _reduction(operation, asked_by):
    # Global pooling: its window is all it reads. Over channels it is part of a normalisation, over
    # a kernel's first axis of its rounding.
    last = len(operation.inputs[0].shape) - 1
    axes = np.ravel(tf.get_static_value(operation.inputs[1])) % (last + 1)
    # Maps with their channels first have their places in the last two axes.
    if last == 3 and sorted(axes) == [2, 3]:
        return _size(operation.inputs[0], asked_by)
    return 0 if np.isin(axes, (0, last)).any() else _size(operation.inputs[0], asked_by)


_RULES = {
    "Conv2D": _convolution,
    "DepthwiseConv2dNative": _depthwise_convolution,
    "Conv2DBackpropInput": _transposed_convolution,
    "MatMul": _matrix_product,
    "BatchMatMulV2": _matrix_product,
    "Einsum": _einsum,
    "BiasAdd": _bias,
    "AvgPool": _window,
    "MaxPool": _window,
    "Mean": _reduction,
    "Max": _reduction,
}


def _size(tensor, asked_by):
    if not tensor.shape.is_fully_defined():
        raise InputError(
            "`model` must have static shapes to be counted: give its Input a height and a width. "
            f"Received: {tensor.shape} in the layer {asked_by!r}."
        )
    return tensor.shape.num_elements()


def macs_of_calls(inputs, nodes, shapes=None):
    """Multiply-accumulates of each call, from tracing all of them on one image.

    Args:
        inputs: symbolic inputs of the model.
        nodes: its calls, as `calls_before` gives them.
        shapes: shape of each input without the batch; None for the inputs' own.

    Returns:
        List of int, one per call.
    """
    shapes = [tensor.shape[1:] for tensor in inputs] if shapes is None else shapes
    traced = []

    def run(*images):
        graph = tf.compat.v1.get_default_graph()
        tensors = dict(zip(map(id, inputs), images, strict=True))
        # TensorFlow takes layers' names that begin with "_" within a scope alone, as a model is.
        with tf.name_scope("model"):
            for node in nodes:
                before = len(graph.get_operations())
                run_calls([node], tensors, call_for_inference)
                traced.append((node.operation.name, graph.get_operations()[before:]))

    tf.function(run).get_concrete_function(
        *(
            tf.TensorSpec((1, *shape), tensor.dtype)
            for tensor, shape in zip(inputs, shapes, strict=True)
        )
    )
    return [sum(operation_macs(o, name) for o in operations) for name, operations in traced]


def parameters_of(operations):
    """Trainable parameters of layers, each counted once."""
    variables = {}
    for operation in operations:
        if isinstance(operation, keras.Layer):
            # Frozen layers keep their parameters; only statistics and seeds are none.
            for layer in layers_within(operation):
                variables.update({id(v): v for v in own_trainable_variables(layer)})
    return sum(int(np.prod(variable.shape)) for variable in variables.values())


def bytes_per_image(tensor):
    """Bytes that one image's part of a symbolic tensor takes."""
    return int(np.prod(tensor.shape[1:])) * tf.as_dtype(tensor.dtype).size
