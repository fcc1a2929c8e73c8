"""Asks a model that TF Serving serves, by gRPC or by REST.

    client = GrpcClient("localhost:8500", "digits")
    answer = client.classify([open("photo.jpg", "rb").read()])

Both clients have the same methods and give the same answers. They count the images that left at
each exit, for Prometheus:

    prometheus_client.start_http_server(9100, registry=client.counts.registry)
"""

import base64
import json
import time
import urllib.error
import urllib.request

import numpy as np
import tensorflow as tf

from tf_adaptive.errors import InputError, plain_reason
from tf_adaptive.extras import lazily
from tf_adaptive.pictures import PICTURE_KINDS

from .answer_counts import AnswerCounts

grpc = lazily("grpc", extra="serving")
predict_pb2 = lazily("tensorflow_serving.apis.predict_pb2", extra="serving")
prediction_service_pb2_grpc = lazily(
    "tensorflow_serving.apis.prediction_service_pb2_grpc", extra="serving"
)


# Above every confidence; JSON has no infinity.
_NEVER = 2.0


class _Client:
    """What both ways of asking share; a subclass has `call`."""

    def __init__(self, model, counts):
        self.model = model
        self.counts = AnswerCounts() if counts is None else counts

    def classify(self, images, *, thresholds=None, enabled_exits=None):
        """Classifies images.

        Args:
            images: uint8 `(batch, height, width, channels)`, or a list of whole BMP, GIF, JPEG,
                PNG or WebP files as bytes.
            thresholds: for a network with K exits, K − 1 numbers in [0, 1] in place of those it is
                served with, None for an exit that no image is to leave at; or `(batch, K − 1)`, for
                each image its own.
            enabled_exits: numbers of the exits that images may leave at, from 1, at the thresholds
                it is served with, in place of all; the last one always is. Exits that it is served
                without stay off.

        Returns:
            Dictionary of arrays: "class" `(batch,)`, "label" `(batch,)` of strings,
            "probabilities" `(batch, classes)`, "confidence" `(batch,)`, and "exit" or
            "resolution" `(batch,)`.

        Raises:
            InputError: images that are neither; thresholds and enabled exits both; what the server
                refuses; no server.
        """
        inputs = _image_inputs(images)
        signature = "serving_bytes" if "encoded" in inputs else "serving_default"
        if enabled_exits is not None:
            if thresholds is not None:
                raise InputError(
                    "One of `thresholds` and `enabled_exits` must be given: a threshold of None is "
                    "an exit that is off. Received: both."
                )
            signature = signature.replace("_default", "") + "_enabled_exits"
            numbers = np.asarray(list(enabled_exits), "int32")
            inputs["enabled_exits"] = np.broadcast_to(numbers, (len(images), len(numbers)))
        if thresholds is not None:
            signature = signature.replace("_default", "") + "_thresholds"
            thresholds = np.asarray(
                [_NEVER if threshold is None else threshold for threshold in thresholds], "float32"
            )
            thresholds = np.minimum(thresholds, _NEVER)
            inputs["thresholds"] = np.broadcast_to(
                thresholds, (len(images), *thresholds.shape[-1:])
            )
        began = time.perf_counter()
        try:
            answer = self.call(signature, **inputs)
        except InputError:
            self.counts.refused(self.model)
            raise
        self.counts.answered(self.model, answer, seconds=time.perf_counter() - began)
        return answer

    def metrics(self):
        """What `counts` has come to, in Prometheus's text format."""
        return self.counts.text()


class GrpcClient(_Client):
    """Asks by gRPC, TF Serving's port 8500; close it, or use it in a `with` statement.

    Args:
        address: "host:port"; where it stands for several servers they are asked in turns.
        model: the name it is served by.
        version: a whole number; the newest if None.
        timeout_seconds: how long an answer may take.
        counts: `AnswerCounts` that several clients share; None for one of its own.

    Attributes:
        counts: as given, or its own; what `classify` was answered is counted there.
    """

    def __init__(self, address, model, *, version=None, timeout_seconds=10.0, counts=None):
        super().__init__(model, counts)
        self.address = address
        self.version = version
        self.timeout_seconds = timeout_seconds
        # Batches of images are larger than the 4 MB that gRPC allows by itself.
        unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        # A name may stand for several servers.
        in_turns = [("grpc.lb_policy_name", "round_robin")]
        self._channel = grpc.insecure_channel(address, options=unlimited + in_turns)
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def call(self, signature, **inputs):
        """Runs any signature.

        Args:
            signature: its name.
            **inputs: arrays by name.

        Returns:
            Dictionary of arrays by name; texts are strings.

        Raises:
            InputError: what the server refuses; no server.
        """
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.model
        request.model_spec.signature_name = signature
        if self.version is not None:
            request.model_spec.version.value = self.version
        for name, value in inputs.items():
            is_text = np.asarray(value).dtype == object
            proto = tf.make_tensor_proto(value, dtype=tf.string if is_text else None)
            request.inputs[name].CopyFrom(proto)
        try:
            response = self._service.Predict(request, timeout=self.timeout_seconds)
        except grpc.RpcError as error:
            raise _refused(self.address, f"{error.code().name}: {error.details()}") from error
        arrays = {name: tf.make_ndarray(value) for name, value in response.outputs.items()}
        return {
            name: np.char.decode(array.astype("S"), "utf-8") if array.dtype == object else array
            for name, array in arrays.items()
        }

    def close(self):
        self._channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class RestClient(_Client):
    """Asks by REST, TF Serving's port 8501.

    Args:
        address: "host:port".
        model, version, timeout_seconds, counts: as for `GrpcClient`.
    """

    def __init__(self, address, model, *, version=None, timeout_seconds=10.0, counts=None):
        super().__init__(model, counts)
        version = "" if version is None else f"/versions/{version}"
        self.url = f"http://{address}/v1/models/{model}{version}:predict"
        self.timeout_seconds = timeout_seconds

    def call(self, signature, **inputs):
        """Runs any signature, see `GrpcClient.call`; JSON keeps no shape of an empty batch."""
        body = {
            "signature_name": signature,
            "inputs": {name: _to_json(value) for name, value in inputs.items()},
        }
        request = urllib.request.Request(
            self.url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_seconds) as response:
                outputs = json.load(response)["outputs"]
        except urllib.error.HTTPError as error:
            raise _refused(self.url, _error_text(error)) from error
        except OSError as error:
            raise _refused(self.url, str(error)) from error
        if not isinstance(outputs, dict):
            # The server leaves out the name of an only output; those of our models are logits.
            outputs = {"logits": outputs}
        return {name: _from_json(value) for name, value in outputs.items()}


def _image_inputs(images):
    if isinstance(images, list | tuple) and all(isinstance(image, bytes) for image in images):
        return {"encoded": np.array(images, object)}
    array = np.asarray(images)
    if array.dtype != np.uint8 or array.ndim != 4:
        raise InputError(
            "`images` must be uint8 (batch, height, width, channels), or a list of the bytes of "
            f"{PICTURE_KINDS} files. Received: {array.dtype} of the shape {array.shape}."
        )
    return {"images": array}


def _refused(address, reason):
    return InputError(
        "The request must be one that the server answers, and the server one that can be reached. "
        f"Received from {address}: {plain_reason(reason).rstrip('.')}."
    )


def _error_text(error):
    """The reason that TF Serving gives, or the whole answer of a server that is another."""
    text = error.read().decode(errors="replace")
    try:
        return json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"


def _to_json(value):
    array = np.asarray(value)
    if array.dtype == object:
        return [{"b64": base64.b64encode(text).decode()} for text in array]
    return array.tolist()


def _from_json(value):
    array = np.asarray(value)
    narrower = {"f": "float32", "i": "int32"}
    return array.astype(narrower.get(array.dtype.kind, array.dtype))
