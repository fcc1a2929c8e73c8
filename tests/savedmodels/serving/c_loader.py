"""Loads a SavedModel as TF Serving does: with TensorFlow's C++ loader, through its C API."""

import ctypes
import pathlib

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

_STRING_BYTES = 24


class _Buffer(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    ]


class _Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def _library():
    folder = pathlib.Path(tf.__file__).parent
    ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"))
    library = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"))
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for name, result, arguments in (
        ("TF_NewStatus", pointer, []),
        ("TF_DeleteStatus", None, [pointer]),
        ("TF_GetCode", number, [pointer]),
        ("TF_Message", ctypes.c_char_p, [pointer]),
        ("TF_NewGraph", pointer, []),
        ("TF_DeleteGraph", None, [pointer]),
        ("TF_NewSessionOptions", pointer, []),
        ("TF_DeleteSessionOptions", None, [pointer]),
        ("TF_NewBuffer", ctypes.POINTER(_Buffer), []),
        ("TF_DeleteBuffer", None, [ctypes.POINTER(_Buffer)]),
        (
            "TF_LoadSessionFromSavedModel",
            pointer,
            [
                *(pointer, pointer, ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p)),
                *(number, pointer, ctypes.POINTER(_Buffer), pointer),
            ],
        ),
        ("TF_CloseSession", None, [pointer, pointer]),
        ("TF_DeleteSession", None, [pointer, pointer]),
        ("TF_GraphOperationByName", pointer, [pointer, ctypes.c_char_p]),
        ("TF_AllocateTensor", pointer, [number, ctypes.POINTER(ctypes.c_int64), number, size]),
        ("TF_TensorData", pointer, [pointer]),
        ("TF_TensorType", number, [pointer]),
        ("TF_NumDims", number, [pointer]),
        ("TF_Dim", ctypes.c_int64, [pointer, number]),
        ("TF_DeleteTensor", None, [pointer]),
        ("TF_StringInit", None, [pointer]),
        ("TF_StringCopy", None, [pointer, ctypes.c_char_p, size]),
        ("TF_StringGetDataPointer", pointer, [pointer]),
        ("TF_StringGetSize", size, [pointer]),
        (
            "TF_SessionRun",
            None,
            [
                *(pointer, pointer),
                *(ctypes.POINTER(_Output), ctypes.POINTER(pointer), number),
                *(ctypes.POINTER(_Output), ctypes.POINTER(pointer), number),
                *(pointer, number, pointer, pointer),
            ],
        ),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class CSavedModel:
    """A SavedModel in a C++ session, which any number of threads may run."""

    def __init__(self, directory):
        self._c = _library()
        self._graph = self._c.TF_NewGraph()
        options, buffer = self._c.TF_NewSessionOptions(), self._c.TF_NewBuffer()
        status = self._c.TF_NewStatus()
        tags = (ctypes.c_char_p * 1)(b"serve")
        self._session = self._c.TF_LoadSessionFromSavedModel(
            options, None, str(directory).encode(), tags, 1, self._graph, buffer, status
        )
        self._check(status)
        content = ctypes.string_at(buffer.contents.data, buffer.contents.length)
        self._c.TF_DeleteBuffer(buffer)
        self._c.TF_DeleteSessionOptions(options)
        self.signatures = meta_graph_pb2.MetaGraphDef.FromString(content).signature_def

    def run(self, signature, **inputs):
        """Answers of a signature, numpy arrays by name."""
        definition = self.signatures[signature]
        feeds = [self._place(definition.inputs[name].name) for name in inputs]
        values = [
            self._tensor(np.asarray(value), definition.inputs[name].dtype)
            for name, value in inputs.items()
        ]
        names = list(definition.outputs)
        fetches = [self._place(definition.outputs[name].name) for name in names]
        results = (ctypes.c_void_p * len(names))()
        status = self._c.TF_NewStatus()
        self._c.TF_SessionRun(
            self._session,
            None,
            (_Output * len(feeds))(*feeds),
            (ctypes.c_void_p * len(values))(*values),
            len(values),
            (_Output * len(fetches))(*fetches),
            results,
            len(names),
            *(None, 0, None, status),
        )
        for value in values:
            self._c.TF_DeleteTensor(value)
        self._check(status)
        return {name: self._array(result) for name, result in zip(names, results, strict=True)}

    def close(self):
        status = self._c.TF_NewStatus()
        self._c.TF_CloseSession(self._session, status)
        self._c.TF_DeleteSession(self._session, status)
        self._c.TF_DeleteStatus(status)
        self._c.TF_DeleteGraph(self._graph)

    def _place(self, name):
        operation, _, index = name.partition(":")
        return _Output(self._c.TF_GraphOperationByName(self._graph, operation.encode()), int(index))

    def _tensor(self, array, dtype):
        is_string = dtype == tf.string.as_datatype_enum
        size = _STRING_BYTES * array.size if is_string else array.nbytes
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        tensor = self._c.TF_AllocateTensor(dtype, shape, array.ndim, size)
        data = self._c.TF_TensorData(tensor)
        if is_string:
            for place, text in enumerate(array.ravel()):
                self._c.TF_StringInit(data + _STRING_BYTES * place)
                self._c.TF_StringCopy(data + _STRING_BYTES * place, text, len(text))
        elif size:
            ctypes.memmove(data, np.ascontiguousarray(array).ctypes.data, size)
        return tensor

    def _array(self, tensor):
        shape = [self._c.TF_Dim(tensor, axis) for axis in range(self._c.TF_NumDims(tensor))]
        dtype = tf.as_dtype(self._c.TF_TensorType(tensor))
        data = self._c.TF_TensorData(tensor)
        count = int(np.prod(shape))
        if dtype == tf.string:
            texts = [data + _STRING_BYTES * place for place in range(count)]
            array = np.array(
                [
                    ctypes.string_at(
                        self._c.TF_StringGetDataPointer(text), self._c.TF_StringGetSize(text)
                    )
                    for text in texts
                ],
                object,
            )
        else:
            content = ctypes.string_at(data, count * dtype.size) if count else b""
            array = np.frombuffer(content, dtype.as_numpy_dtype)
        self._c.TF_DeleteTensor(tensor)
        return array.reshape(shape)

    def _check(self, status):
        code, message = self._c.TF_GetCode(status), self._c.TF_Message(status).decode()
        self._c.TF_DeleteStatus(status)
        if code:
            raise RuntimeError(message)
