"""Reads a TFLite file itself, to see what it holds."""

import struct

from tf_adaptive.errors import InputError
from tf_adaptive.extras import lazily

interpreter = lazily("ai_edge_litert.interpreter", extra="tflite")
schema = lazily("ai_edge_litert.schema_py_generated", extra="tflite")

_IDENTIFIER = b"TFL3"
# Those that call another graph, or keep something from one call to the next.
_NOT_STRAIGHT_LINE = {
    "CALL",
    "CALL_ONCE",
    "IF",
    "WHILE",
    "STABLEHLO_CASE",
    "STABLEHLO_WHILE",
    "VAR_HANDLE",
    "READ_VARIABLE",
    "ASSIGN_VARIABLE",
}


def check_flatbuffer(content, signatures):
    """Checks that a TFLite file runs wherever TFLite does, its GPU delegate included.

    Each signature must be one straight line of built-in operations on tensors of fixed shapes.

    Args:
        content: bytes of the file.
        signatures: the names it must hold, and no others, with the size of the batch of each.

    Raises:
        InputError: something else; the line names it.
    """
    model = read_flatbuffer(content)
    held = {definition.signatureKey.decode(): definition for definition in model.signatureDefs}
    if set(held) != set(signatures) or len(model.subgraphs) != len(signatures):
        raise InputError(
            f"A TFLite file must hold a graph for each of {', '.join(signatures)} and no other. "
            f"Received: {len(model.subgraphs)} graphs, signatures {', '.join(held)}."
        )
    for name, definition in held.items():
        graph = model.subgraphs[definition.subgraphIndex]
        for operation in operations(model, graph):
            if operation.startswith("CUSTOM") or operation in _NOT_STRAIGHT_LINE:
                raise InputError(
                    "A network for TFLite must be made of built-in operations, without loops, "
                    f"branches and variables. Received: {operation} in {name}."
                )
        _check_shapes(name, graph, signatures[name])


def check_int8(content):
    """Checks that a TFLite file computes with integers, but for its inputs and outputs.

    Args:
        content: bytes of the file.

    Raises:
        InputError: an operation that is not a conversion takes or gives floating-point numbers.
    """
    model = read_flatbuffer(content)
    kinds = schema.TensorType
    floats = (kinds.FLOAT16, kinds.FLOAT32, kinds.FLOAT64)
    for graph in model.subgraphs:
        for operator, name in zip(graph.operators, operations(model, graph), strict=True):
            # -1 stands for an input that is left out.
            tensors = [graph.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
            is_float = any(tensor.type in floats for tensor in tensors)
            if is_float and name not in ("QUANTIZE", "DEQUANTIZE"):
                raise InputError(
                    "A network in int8 must be made of operations that TFLite has for integers. "
                    f"Received: {name} on floating-point numbers."
                )


def check_whole_flatbuffer(path):
    """Refuses a file that is no whole TFLite model, before it is given to what trusts it.

    Args:
        path: of the file.

    Raises:
        InputError: a part of it is missing or leads outside of it, or it cannot be read.
    """
    try:
        # It verifies the flatbuffer, which a compiled model takes as it comes.
        interpreter.Interpreter(
            model_path=str(path),
            experimental_op_resolver_type=interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
    except ValueError as error:
        raise InputError(
            f"A .tflite file must be whole. Received: {path}, which is no TFLite model."
        ) from error


def read_flatbuffer(content):
    """What a TFLite file holds, a `schema.ModelT`.

    Raises:
        InputError: it is not a TFLite file with signatures.
    """
    try:
        if content[4:8] != _IDENTIFIER:
            raise ValueError("other identifier")
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    except (IndexError, TypeError, ValueError, struct.error) as error:
        raise InputError(
            "A .tflite file must be whole. "
            f"Received: {len(content)} bytes that are no TFLite model."
        ) from error
    if not model.signatureDefs:
        raise InputError(
            "A .tflite file must have signatures, as savedmodels.convert_tflite writes them. "
            "Received: one without."
        )
    return model


def operations(model, graph):
    """The operations of one graph in order: names as "CONV_2D", or "CUSTOM …" with its own.

    Args:
        model: what `read_flatbuffer` gave.
        graph: one of `model.subgraphs`.
    """
    known = vars(schema.BuiltinOperator).items()
    by_number = {number: name for name, number in known if name.isupper()}
    names = []
    for code in model.operatorCodes:
        # Files of old have the number in a field of 8 bits.
        name = by_number[max(code.builtinCode, code.deprecatedBuiltinCode)]
        names.append(f"CUSTOM {code.customCode.decode()}" if name == "CUSTOM" else name)
    return [names[operator.opcodeIndex] for operator in graph.operators or []]


def _check_shapes(name, graph, batch_size):
    for tensor in graph.tensors:
        # Only where a size is open is there a second shape, with -1 in its place.
        open_shape = [] if tensor.shapeSignature is None else [*map(int, tensor.shapeSignature)]
        if -1 in open_shape:
            raise InputError(
                "Every tensor of a network for TFLite must have a fixed shape. "
                f"Received: {open_shape} for {tensor.name.decode()!r} in {name}."
            )
    for index in [*graph.inputs, *graph.outputs]:
        shape = [*map(int, graph.tensors[index].shape)]
        if shape[:1] != [batch_size]:
            raise InputError(
                f"Inputs and outputs of a network for TFLite must have a batch of {batch_size}. "
                f"Received: {shape} for {graph.tensors[index].name.decode()!r} in {name}."
            )
