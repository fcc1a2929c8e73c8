"""A gRPC and a REST server on loopback, over exported models, as TF Serving's interfaces are."""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import pathlib
import re
import threading

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class Refused(Exception):
    pass


class Models:
    """The models of a folder, loaded when they are first asked for.

    Attributes:
        loaded: those that were, by the folders of their versions.
    """

    def __init__(self, folder):
        self._folder = pathlib.Path(folder)
        self.loaded = {}

    def signatures(self, name, version=None):
        """Those of a version of a model, or of its newest."""
        versions = [int(child.name) for child in (self._folder / name).glob("[0-9]*")]
        if not versions or (version and version not in versions):
            raise Refused(f"Servable not found for request: {name} {version or 'Latest'}")
        place = self._folder / name / str(version or max(versions))
        if place not in self.loaded:
            self.loaded[place] = tf.saved_model.load(str(place))
        return self.loaded[place].signatures

    def predict(self, name, version, signature, inputs):
        """Arrays by name; `inputs` are arrays, converted to the dtypes of the signature."""
        signatures = self.signatures(name, version)
        if signature not in signatures:
            raise Refused(f"Serving signature key {signature!r} not found.")
        function = signatures[signature]
        specs = function.structured_input_signature[1]
        if set(specs) != set(inputs):
            raise Refused(f"input size does not match signature: {sorted(specs)}")
        try:
            answer = function(
                **{key: tf.constant(value, specs[key].dtype) for key, value in inputs.items()}
            )
        except tf.errors.OpError as error:
            raise Refused(error.message) from error
        return {key: value.numpy() for key, value in answer.items()}


@contextlib.contextmanager
def grpc_server(models):
    """Serves `Models` with the real stubs; gives the address."""

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):  # noqa: N802, the stub's name
            spec = request.model_spec
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            try:
                answer = models.predict(
                    spec.name, spec.version.value, spec.signature_name or "serving_default", inputs
                )
            except Refused as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            response = predict_pb2.PredictResponse()
            for name, value in answer.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            return response

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@contextlib.contextmanager
def rest_server(models):
    """Serves `Models` in the columns of TF Serving's REST; gives the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: N802, the base class's name
            name, version = re.fullmatch(
                r"/v1/models/([^/:]+)(?:/versions/(\d+))?:predict", self.path
            ).groups()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            inputs = {key: _from_json(value) for key, value in body["inputs"].items()}
            try:
                answer = models.predict(name, int(version or 0), body["signature_name"], inputs)
            except Refused as error:
                self._answer(400, {"error": str(error)})
                return
            outputs = {key: _to_json(value) for key, value in answer.items()}
            if len(outputs) == 1:
                (outputs,) = outputs.values()
            self._answer(200, {"outputs": outputs})

        def _answer(self, status, content):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _from_json(value):
    if value and isinstance(value[0], dict):
        return np.array([base64.b64decode(entry["b64"]) for entry in value], object)
    return np.array(value)


def _to_json(array):
    return [text.decode() for text in array] if array.dtype == object else array.tolist()
