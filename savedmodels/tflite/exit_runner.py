"""Classifies one image after another, and stops computing where it is sure enough."""

import dataclasses
import time

import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.exits.operating_point import OperatingPoint
from tf_adaptive.exits.thresholds import NEVER, check_thresholds

from .converted_network import ConvertedNetwork
from .run import first_sure

_FIELDS = {"stages": list, "measure": str, "thresholds": list}


class StagedRunner:
    """A converted network that runs its stages one after another with LiteRT, for one image.

    An image leaves at the first exit whose confidence reaches its threshold (Huang et al. 2018,
    budgeted batch classification); the stages after it are not run. A stage is loaded when the
    first image needs it, if it has a file of its own; a file of all stages is loaded whole. What
    a stage hands on stays in the buffers that it was written to, and is not copied; so a runner
    is for one thread at a time.

    Args:
        directory: folder that `savedmodels.convert_tflite` wrote.
        thresholds: K − 1 numbers in [0, 1], None for an exit that nothing is to leave at; None for
            those of the folder. Exits that are off in the folder have no file, and stay so.
        accelerator: "cpu" or "gpu".
        threads: of the CPU.

    Attributes:
        num_exits: K.
        enabled_exits: numbers of the exits that are there, from 1.
        image_shape: `(height, width, channels)`.
        class_names: a name per class.
        thresholds: float32 `(K − 1,)`; infinite for an exit that is off.
        loaded_stages: how many stages have been loaded.

    Raises:
        InputError: a folder that is no converted network; thresholds of the wrong number, outside
            [0, 1] or of an exit that is off; an unknown accelerator, or one that is not there.
    """

    def __init__(self, directory, *, thresholds=None, accelerator="cpu", threads=1):
        self._network, point = open_network(
            directory, thresholds=thresholds, accelerator=accelerator, threads=threads
        )
        self._stages = self._network.description["stages"]
        self.num_exits = len(point.thresholds) + 1
        self.enabled_exits = point.enabled_exits
        self.image_shape = self._network.image_shape
        self.class_names = self._network.class_names
        self._measure, self.thresholds = point.measure, point.thresholds
        self._scales = point.scales
        # Of each loaded stage, what runs it and gives its logits.
        self._run = [self._network.load(self._stages[0])]

    @property
    def loaded_stages(self):
        return len(self._run)

    def __call__(self, image):
        """Classifies an image.

        Args:
            image: uint8 `(height, width, channels)` of `image_shape`.

        Returns:
            A `savedmodels.tflite.answer.Answer`.

        Raises:
            InputError: an image of another shape or dtype; a stage's file is missing or not one
                of this network.
        """
        start = time.perf_counter()
        self._network.give(image)
        probabilities, confidence, number = first_sure(
            self._logits,
            enabled_exits=self.enabled_exits,
            thresholds=self.thresholds,
            scales=self._scales,
            measure=self._measure,
        )
        return self._network.answer(probabilities, confidence=confidence, exit=number, start=start)

    def all_exits(self, image):
        """The logits of every exit that is on, float32 `(exits, classes)`; see `__call__`."""
        self._network.give(image)
        return np.stack([self._logits(place) for place in range(len(self._stages))])

    def _logits(self, place):
        """Runs a stage, by its place from 0; those before it have been run."""
        if place == len(self._run):
            self._run.append(self._network.load(self._stages[place]))
        return self._run[place]()


def open_network(directory, *, thresholds, accelerator="cpu", threads=1):
    """The folder of a network with exits, and where it is run.

    Args:
        directory, thresholds, accelerator, threads: see `StagedRunner`.

    Returns:
        `ConvertedNetwork`, whose description's "stages" were checked, and `OperatingPoint`.

    Raises:
        InputError: see `StagedRunner`.
    """
    network = ConvertedNetwork(directory, _FIELDS, accelerator=accelerator, threads=threads)
    description = network.description
    stages = description["stages"]
    network.check_parts(stages)
    # The last exit is on always; former versions had all of them.
    num_exits = max(description.get("enabled_exits") or [len(stages)])
    if len(description["thresholds"]) != num_exits - 1:
        raise InputError(
            f"`thresholds` in {network.path} must be {num_exits - 1} numbers, one "
            f"for each of the {num_exits} exits but the last. "
            f"Received: {description['thresholds']}."
        )
    point = OperatingPoint.from_description(description, num_exits)
    if len(stages) != len(point.enabled_exits):
        raise InputError(
            f"`enabled_exits` in {network.path} must be an exit for each of the "
            f"{len(stages)} stages. Received: {list(point.enabled_exits)}."
        )
    if thresholds is None:
        return network, point
    given = check_thresholds(thresholds, num_exits)
    for number, threshold in enumerate(given, start=1):
        if threshold != NEVER and number not in point.enabled_exits:
            raise InputError(
                "`thresholds` must be None for an exit that is off in the folder. "
                f"Received: {threshold} for exit {number}."
            )
    return network, dataclasses.replace(point, thresholds=given)
