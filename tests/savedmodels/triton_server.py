"""A stand-in of NVIDIA Triton: it reads a model repository and gives its Python models their API.

Configurations are read by the server's published schema, and what goes in and out of a model is
held against them as the server does. It is not the server.
"""

import contextlib
import importlib.util
import json
import pathlib
import sys
import types

import numpy as np
import tensorflow as tf
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import triton_to_np_dtype

_UTILS = "triton_python_backend_utils"


class Refused(Exception):
    """What the server itself answers."""


class Tensor:
    def __init__(self, name, array):
        assert isinstance(array, np.ndarray) and array.flags.c_contiguous
        self._name, self._array = name, array

    def name(self):
        return self._name

    def as_numpy(self):
        return self._array


class TritonError:
    UNKNOWN, INTERNAL, NOT_FOUND, INVALID_ARG, UNAVAILABLE, UNSUPPORTED, ALREADY_EXISTS = range(7)

    def __init__(self, message, code=INTERNAL):
        self._message, self._code = message, code

    def message(self):
        return self._message

    def code(self):
        return self._code


class InferenceResponse:
    def __init__(self, output_tensors=(), error=None):
        self._tensors, self._error = list(output_tensors), error

    def output_tensors(self):
        return self._tensors

    def has_error(self):
        return self._error is not None

    def error(self):
        return self._error


class Request:
    """What a model is given."""

    def __init__(self, inputs):
        self._inputs = list(inputs)

    def inputs(self):
        return self._inputs


def read_config(folder):
    """The configuration of a model's folder, by the published schema; what is not in it raises."""
    text = (pathlib.Path(folder) / "config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.name == pathlib.Path(folder).name
    return config


class Triton:
    """The models of a repository, each in its newest version.

    Attributes:
        ran: `(model, images)` of each time that one ran.
    """

    def __init__(self, repository):
        self._folders = {folder.name: folder for folder in pathlib.Path(repository).iterdir()}
        self._configs = {name: read_config(folder) for name, folder in self._folders.items()}
        self.ran = []
        with _utils(self):
            self._models = {name: self._loaded(name) for name in self._folders}

    def infer(self, name, *requests):
        """The responses of a model to requests that the server gives it together.

        Each request is a dictionary of arrays; a response is one too, or a `TritonError`.
        """
        given = [[Tensor(key, array) for key, array in each.items()] for each in requests]
        with _utils(self):
            responses = self._execute(name, given)
        return [
            response.error()
            if response.has_error()
            else {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}
            for response in responses
        ]

    def _execute(self, name, given):
        config = self._configs[name]
        for inputs in given:
            _check(config, config.input, inputs)
        self.ran.append((name, sum(len(inputs[0].as_numpy()) for inputs in given)))
        responses = self._models[name]([Request(inputs) for inputs in given])
        assert len(responses) == len(given)
        for response in responses:
            if not response.has_error():
                _check(config, config.output, response.output_tensors())
        return responses

    def _loaded(self, name):
        """A function of a list of `Request` that gives a list of `InferenceResponse`."""
        folder, config = self._folders[name], self._configs[name]
        version = max(int(child.name) for child in folder.iterdir() if child.name.isdigit())
        if config.platform == "tensorflow_savedmodel":
            return _saved_model(folder / str(version) / "model.savedmodel")
        assert config.backend == "python"
        spec = importlib.util.spec_from_file_location(name, folder / str(version) / "model.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        model = module.TritonPythonModel()
        as_json = json_format.MessageToJson(config, preserving_proto_field_name=True)
        arguments = {"model_config": as_json, "model_name": name, "model_version": str(version)}
        assert json.loads(as_json)["output"]
        model.initialize(arguments)
        return model.execute


def _saved_model(folder):
    loaded = tf.saved_model.load(str(folder))

    def execute(requests):
        responses = []
        for request in requests:
            given = {each.name(): tf.constant(each.as_numpy()) for each in request.inputs()}
            try:
                answer = loaded.signatures["serving_default"](**given)
            except tf.errors.OpError as error:
                responses.append(InferenceResponse(error=TritonError(error.message)))
                continue
            responses.append(InferenceResponse([Tensor(k, v.numpy()) for k, v in answer.items()]))
        return responses

    return execute


def _check(config, expected, tensors):
    """Holds tensors against a model's inputs or outputs."""
    found = {tensor.name(): tensor.as_numpy() for tensor in tensors}
    known = {each.name: each for each in expected}
    if not set(found) <= set(known):
        raise Refused(f"unexpected {sorted(set(found) - set(known))} for model {config.name!r}")
    batches = {len(array) for array in found.values()}
    if len(batches) != 1 or max(batches) > config.max_batch_size:
        raise Refused(f"batch of {batches} for model {config.name!r}")
    for name, each in known.items():
        if name not in found:
            if not getattr(each, "optional", False):
                raise Refused(f"{name!r} is missing for model {config.name!r}")
            continue
        array = found[name]
        kind = model_config_pb2.DataType.Name(each.data_type).removeprefix("TYPE_")
        dtype = triton_to_np_dtype("BYTES" if kind == "STRING" else kind)
        fits = array.ndim == 1 + len(each.dims) and all(
            want in (-1, size) for want, size in zip(each.dims, array.shape[1:], strict=True)
        )
        if array.dtype != dtype or not fits:
            raise Refused(f"{name!r} of {array.dtype} {array.shape} for model {config.name!r}")


@contextlib.contextmanager
def _utils(server):
    """Puts the module of a Python model's API where models import it."""

    class InferenceRequest(Request):
        def __init__(self, model_name, inputs, requested_output_names, preferred_memory):
            super().__init__(inputs)
            # What is left on a GPU has no arrays.
            assert preferred_memory.kind == "cpu"
            self._model, self._wanted = model_name, requested_output_names

        def exec(self):
            try:
                (response,) = server._execute(self._model, [self.inputs()])
            except Refused as error:
                return InferenceResponse(error=TritonError(str(error)))
            if response.has_error():
                return response
            wanted = [each for each in response.output_tensors() if each.name() in self._wanted]
            return InferenceResponse(wanted)

    def find(tensors, name):
        return next((tensor for tensor in tensors if tensor.name() == name), None)

    module = types.ModuleType(_UTILS)
    module.Tensor, module.TritonError = Tensor, TritonError
    module.InferenceRequest, module.InferenceResponse = InferenceRequest, InferenceResponse
    module.TRITONSERVER_MEMORY_CPU = "cpu"
    module.PreferredMemory = lambda kind, device: types.SimpleNamespace(kind=kind, device=device)
    module.get_input_tensor_by_name = lambda request, name: find(request.inputs(), name)
    module.get_output_tensor_by_name = lambda response, name: find(response.output_tensors(), name)
    before = sys.modules.get(_UTILS)
    sys.modules[_UTILS] = module
    try:
        yield
    finally:
        del sys.modules[_UTILS]
        if before is not None:
            sys.modules[_UTILS] = before
