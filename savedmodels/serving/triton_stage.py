"""Runs one stage of a network with exits inside NVIDIA Triton: the SavedModel beside this file.

Triton's Python backend loads it. It needs TensorFlow where the server runs: `pip install
tensorflow` of the version in `description.json`, or a later one. The requests that Triton gives it
together are one batch.
"""

import json
import pathlib

import numpy as np
import tensorflow as tf
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What the Python backend calls."""

    def initialize(self, args):
        # Other stages have processes of their own on the same GPU.
        for device in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)
        config = json.loads(args["model_config"])
        self._takes = [each["name"] for each in config["input"]]
        self._gives = [each["name"] for each in config["output"]]
        folder = pathlib.Path(__file__).with_name("model.savedmodel")
        # Held, or its variables would go.
        self._loaded = tf.saved_model.load(str(folder))
        self._function = self._loaded.signatures["serving_default"]

    def execute(self, requests):
        given = {
            name: [
                pb_utils.get_input_tensor_by_name(request, name).as_numpy() for request in requests
            ]
            for name in self._takes
        }
        try:
            answer = self._function(
                **{name: tf.constant(np.concatenate(parts)) for name, parts in given.items()}
            )
        except tf.errors.OpError as error:
            return [
                pb_utils.InferenceResponse(error=pb_utils.TritonError(error.message))
                for _ in requests
            ]
        ends = np.cumsum([len(part) for part in given[self._takes[0]]])[:-1]
        parts = {name: np.split(answer[name].numpy(), ends) for name in self._gives}
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor(name, parts[name][place]) for name in self._gives]
            )
            for place in range(len(requests))
        ]
