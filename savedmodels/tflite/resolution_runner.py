"""Classifies one image after another, each at the resolution that a small network picks for it."""

import time

import numpy as np

from tf_adaptive.errors import InputError, is_whole
from tf_adaptive.runs.stored_fields import check_fields

from .converted_network import ConvertedNetwork
from .run import softmax

_FIELDS = {"predictor": dict, "branches": list}


class ResolutionRunner:
    """A converted DRNet that runs its predictor and then one branch with LiteRT, for one image.

    The image is given once, at the largest resolution; predictor and branches read it from the
    same buffer and make it smaller themselves. A branch is loaded when the first image is to be
    classified by it, if it has a file of its own; a file of all is loaded whole. A runner is for
    one thread at a time.

    Args:
        directory: folder that `savedmodels.convert_tflite` wrote.
        accelerator: "cpu" or "gpu".
        threads: of the CPU.

    Attributes:
        resolutions: the candidates, largest first.
        image_shape: `(height, width, channels)`.
        class_names: a name per class.
        loaded_resolutions: those whose branches have been loaded, in the order of `resolutions`.

    Raises:
        InputError: a folder that is no converted DRNet; an unknown accelerator, or one that is
            not there.
    """

    def __init__(self, directory, *, accelerator="cpu", threads=1):
        self._network = ConvertedNetwork(
            directory, _FIELDS, accelerator=accelerator, threads=threads
        )
        description = self._network.description
        self._network.check_parts([description["predictor"]])
        self._network.check_parts(description["branches"], {"resolution": int})
        for branch in description["branches"]:
            check_fields(
                self._network.path, branch, {"resolution": (is_whole, "a whole number of pixels")}
            )
        self._parts = {part["resolution"]: part for part in description["branches"]}
        self.resolutions = tuple(self._parts)
        self.image_shape = self._network.image_shape
        self.class_names = self._network.class_names
        self._predict = self._network.load(description["predictor"], classifies=False)
        # What the buffer holds before the first image does not change how many choices there are.
        choices = len(self._predict())
        if choices != len(self.resolutions):
            raise InputError(
                f"A converted DRNet must have a branch for each of the predictor's {choices} "
                f"choices. Received: {directory}, which has {len(self.resolutions)}."
            )
        # Of each loaded branch, what runs it and gives its logits.
        self._classify = {}

    @property
    def loaded_resolutions(self):
        return tuple(each for each in self.resolutions if each in self._classify)

    def __call__(self, image):
        """Classifies an image.

        Args:
            image: uint8 `(height, width, channels)` of `image_shape`.

        Returns:
            A `savedmodels.tflite.answer.Answer`.

        Raises:
            InputError: an image of another shape or dtype; a branch's file is missing or not one
                of this network.
        """
        start = time.perf_counter()
        self._network.give(image)
        resolution = self.resolutions[self._predict().argmax()]
        probabilities = softmax(self._logits(resolution))
        return self._network.answer(
            probabilities, confidence=probabilities.max(), resolution=resolution, start=start
        )

    def preferences(self, image):
        """The predictor's logits, float32 `(resolutions,)`; see `__call__`."""
        self._network.give(image)
        return self._predict()

    def all_resolutions(self, image):
        """The logits at every resolution, float32 `(resolutions, classes)`; see `__call__`."""
        self._network.give(image)
        return np.stack([self._logits(resolution) for resolution in self.resolutions])

    def _logits(self, resolution):
        if resolution not in self._classify:
            self._classify[resolution] = self._network.load(self._parts[resolution])
        return self._classify[resolution]()
