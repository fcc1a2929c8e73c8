"""Runs the stages of a network with exits inside NVIDIA Triton, and stops where it is sure enough.

The business-logic model of a network: Triton's Python backend loads this file, which needs nothing
but `description.json` beside it and the models of the stages. A batch runs through stage 1; images
that are sure leave, and the others, fewer, go on to the next stage. A stage that no image needs is
not run.

Takes, by name: "images", uint8 `(batch, height, width, channels)` of any one size, and where the
request has it "thresholds", float32 `(batch, exits - 1)`, in place of the network's own, above 1
for an exit that an image is not to leave at. Gives "class" int32, "label" text, "confidence"
float32, "exit" int32, from 1, each `(batch, 1)`, and "probabilities" float32 `(batch, classes)`.
"""

import json
import pathlib

import numpy as np
import triton_python_backend_utils as pb_utils


class StageError(Exception):
    """A stage that gave no answer."""


class TritonPythonModel:
    """What the Python backend calls."""

    def initialize(self, args):
        path = pathlib.Path(__file__).with_name("description.json")
        described = json.loads(path.read_text(encoding="utf-8"))
        self._channels = described["image_shape"][-1]
        self._labels = np.array([name.encode() for name in described["class_names"]], np.object_)
        self._stages = described["stages"]
        own = [np.inf if each is None else each for each in described["thresholds"]]
        self._thresholds = np.array(own, np.float32)

    def execute(self, requests):
        responses = [None] * len(requests)
        # By the size of their images: one batch of all requests that have it.
        alike = {}
        for place, request in enumerate(requests):
            try:
                images, thresholds = self._read(request)
            except ValueError as error:
                responses[place] = _refused(error, pb_utils.TritonError.INVALID_ARG)
            else:
                alike.setdefault(images.shape[1:], []).append((place, images, thresholds))
        for together in alike.values():
            places, images, thresholds = zip(*together, strict=True)
            try:
                answer = self._classify(np.concatenate(images), np.concatenate(thresholds))
            except StageError as error:
                for place in places:
                    responses[place] = _refused(error, pb_utils.TritonError.INTERNAL)
                continue
            ends = np.cumsum([len(each) for each in images])[:-1]
            parts = {name: np.split(values, ends) for name, values in answer.items()}
            for number, place in enumerate(places):
                responses[place] = pb_utils.InferenceResponse(
                    [pb_utils.Tensor(name, values[number]) for name, values in parts.items()]
                )
        return responses

    def _read(self, request):
        """`(images, thresholds)` of a request, or a ValueError that says what is wrong."""
        tensor = pb_utils.get_input_tensor_by_name(request, "images")
        images = np.zeros(0) if tensor is None else tensor.as_numpy()
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != self._channels:
            raise ValueError(
                f"`images` must be uint8 (batch, height, width, {self._channels}). "
                f"Received: {images.dtype} of the shape {images.shape}."
            )
        shape = (len(images), len(self._thresholds))
        tensor = pb_utils.get_input_tensor_by_name(request, "thresholds")
        if tensor is None:
            return images, np.broadcast_to(self._thresholds, shape)
        thresholds = tensor.as_numpy()
        if thresholds.dtype != np.float32 or thresholds.shape != shape:
            raise ValueError(
                f"`thresholds` must be float32 {shape}, for each image one for each exit but the "
                f"last. Received: {thresholds.dtype} of the shape {thresholds.shape}."
            )
        return images, thresholds

    def _classify(self, images, thresholds):
        """The answer to a batch, a dictionary of arrays.

        Args:
            images: uint8 `(batch, height, width, channels)`.
            thresholds: float32 `(batch, exits - 1)`.
        """
        count = len(images)
        probabilities = np.zeros((count, len(self._labels)), np.float32)
        confidence = np.zeros((count, 1), np.float32)
        exits = np.zeros((count, 1), np.int32)
        # Which of the batch are still on their way, and the state of each.
        rows, state = np.arange(count), {"images": images}
        for stage in self._stages:
            if not len(rows):
                break
            given = _run(stage, state)
            state.update(given)
            sure = np.ones(len(rows), bool)
            if stage is not self._stages[-1]:
                sure = given[stage["confidence"]][:, 0] >= thresholds[rows, stage["exit"] - 1]
            done = rows[sure]
            probabilities[done] = given[stage["probabilities"]][sure]
            confidence[done] = given[stage["confidence"]][sure]
            exits[done] = stage["exit"]
            rows, state = rows[~sure], {name: state[name][~sure] for name in stage["state"]}
        classes = probabilities.argmax(axis=-1).astype(np.int32)[:, np.newaxis]
        return {
            "class": classes,
            "label": self._labels[classes],
            "probabilities": probabilities,
            "confidence": confidence,
            "exit": exits,
        }


def _run(stage, state):
    """What the model of a stage gives of its part of the state, a dictionary of arrays."""
    response = pb_utils.InferenceRequest(
        model_name=stage["model"],
        inputs=[pb_utils.Tensor(name, state[name]) for name in stage["takes"]],
        requested_output_names=stage["gives"],
        # What is on a GPU has no arrays.
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
    ).exec()
    if response.has_error():
        raise StageError(f"{stage['model']} gave no answer: {response.error().message()}")
    return {
        name: pb_utils.get_output_tensor_by_name(response, name).as_numpy()
        for name in stage["gives"]
    }


def _refused(error, code):
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), code))
