"""Classifies images that are at hand together, and packs those that stay after every exit."""

import functools
import os
import statistics
import time

import numpy as np

from tf_adaptive.errors import InputError, is_whole

from .compiled import Compiler, Signature, shape_of
from .exit_runner import open_network
from .folder import batch_name
from .run import confidence_of, normalized, softmax

# The first run of a signature takes longer.
_TIMED_RUNS = 3


class BatchRunner:
    """A converted network that runs its stages on batches with LiteRT.

    For a folder that was converted with `batch_sizes`. The images that stay after an exit are
    packed anew into batches of those sizes, into which is chosen by what they took when the runner
    was made: a row that is left empty costs as much as one with an image. So are the threads, for
    each size. For one thread at a time.

    Args:
        directory: folder that `savedmodels.convert_tflite` wrote.
        thresholds: see `StagedRunner`.

    Attributes:
        num_exits, enabled_exits, image_shape, class_names, thresholds: see `StagedRunner`.
        batch_sizes: those of the folder, from 1.
        milliseconds: of each batch size, what a batch takes through the whole network.
        threads: of each batch size, those of the CPU.

    Raises:
        InputError: see `StagedRunner`; a folder that was converted for one image at a time.
    """

    def __init__(self, directory, *, thresholds=None):
        self._network, point = open_network(directory, thresholds=thresholds)
        self._stages = self._network.description["stages"]
        self._network.check_parts(self._stages, {"state": list})
        self.num_exits, self.enabled_exits = len(point.thresholds) + 1, point.enabled_exits
        self.image_shape = self._network.image_shape
        self.class_names = self._network.class_names
        self._measure, self.thresholds = point.measure, point.thresholds
        self._scales = point.scales
        self.batch_sizes = _checked_sizes(self._network.description, directory)
        self._runs, self.milliseconds, self.threads = {}, {}, {}
        for threads in _candidates():
            compiled = self._compiled(Compiler(threads=threads))
            for size in self.batch_sizes:
                run = [
                    Signature(file, batch_name(part["signature"], size))
                    for file, part in zip(compiled, self._stages, strict=True)
                ]
                milliseconds = self._timed(run, size)
                if milliseconds < self.milliseconds.get(size, np.inf):
                    self._runs[size], self.threads[size] = run, threads
                    self.milliseconds[size] = milliseconds

    @property
    def best_batch_size(self):
        """The batch size of the least time for an image."""
        return min(self.batch_sizes, key=lambda size: self.milliseconds[size] / size)

    def __call__(self, images):
        """Classifies images.

        Args:
            images: uint8 `(batch, height, width, channels)`, any batch from 1 on.

        Returns:
            Dictionary of arrays: "class" `(batch,)`, "probabilities" `(batch, classes)`,
            "confidence" `(batch,)`, and "exit" `(batch,)`, counted from 1.

        Raises:
            InputError: images of another shape or dtype, or none.
        """
        given = self._given(images)
        count = len(images)
        answer = {
            "class": np.zeros(count, int),
            "probabilities": np.zeros((count, len(self.class_names)), np.float32),
            "confidence": np.zeros(count, np.float32),
            "exit": np.zeros(count, int),
        }
        rows = np.arange(count)
        for place, number in enumerate(self.enabled_exits):
            logits, given = self._run_stage(place, given, len(rows))
            probabilities = softmax(logits * self._scales[number - 1])
            confidence = confidence_of(probabilities, self._measure)
            leaves = np.ones(len(rows), bool)
            if number != self.num_exits:
                leaves = confidence >= self.thresholds[number - 1]
            left = rows[leaves]
            answer["class"][left] = probabilities[leaves].argmax(axis=-1)
            answer["probabilities"][left] = probabilities[leaves]
            answer["confidence"][left] = confidence[leaves]
            answer["exit"][left] = number
            rows = rows[~leaves]
            if not len(rows):
                return answer
            given = {name: array[~leaves] for name, array in given.items()}
        raise AssertionError("the last exit answers all images")

    def all_exits(self, images, *, batch_size=None):
        """The logits of every exit that is on, float32 `(exits, batch, classes)`.

        Args:
            images: see `__call__`.
            batch_size: one of `batch_sizes`, to run all images in; None for the cheapest.
        """
        given, logits = self._given(images), []
        for place in range(len(self._stages)):
            of_exit, given = self._run_stage(place, given, len(images), batch_size)
            logits.append(of_exit)
        return np.stack(logits)

    def _given(self, images):
        """What the first stage reads."""
        if (
            not isinstance(images, np.ndarray)
            or images.dtype != np.uint8
            or images.shape[1:] != self.image_shape
            or not len(images)
        ):
            height, width, channels = self.image_shape
            kind = getattr(images, "dtype", type(images).__name__)
            raise InputError(
                f"`images` must be a uint8 array of the shape (batch, {height}, {width}, "
                f"{channels}) with at least 1 image. "
                f"Received: {kind} of the shape {np.shape(images)}."
            )
        (name,) = self._runs[1][0].inputs
        described = self._network.description
        return {name: normalized(images, described["mean"], described["std"])}

    def _run_stage(self, place, given, count, batch_size=None):
        """Logits `(count, classes)` and what later stages read, of as many rows."""
        part = self._stages[place]
        logits, states, start = [], [], 0
        if batch_size is None:
            sizes = cheapest_sizes(count, tuple(self.milliseconds.items()))
        else:
            sizes = [batch_size] * -(-count // batch_size)
        for size in sizes:
            rows = slice(start, min(start + size, count))
            signature = self._runs[size][place]
            for name, buffer in signature.inputs.items():
                buffer.write(_filled(given[name][rows], size))
            signature.run()
            kept = rows.stop - rows.start
            logits.append(signature.read(part["logits"])[:kept])
            states.append(
                {
                    name: signature.read(name)[:kept] if name in signature.outputs else None
                    for name in part["state"]
                }
            )
            start = rows.stop
        state = {
            name: given[name]
            if states[0][name] is None
            else np.concatenate([each[name] for each in states])
            for name in part["state"]
        }
        return np.concatenate(logits), state

    def _compiled(self, compiler):
        """Of each stage, its compiled file."""
        files = {}
        for part in self._stages:
            if part["file"] not in files:
                path = self._network.checked_path(part["file"])
                files[part["file"]] = compiler.compiled(path)
        return [files[part["file"]] for part in self._stages]

    def _timed(self, run, size):
        """Milliseconds of a batch through all stages."""
        for signature in run:
            for buffer in signature.inputs.values():
                buffer.write(np.zeros(shape_of(buffer), np.float32))
        times = []
        for _ in range(_TIMED_RUNS):
            start = time.perf_counter()
            for signature in run:
                signature.run()
            times.append(1000 * (time.perf_counter() - start))
        return statistics.median(times)


@functools.cache
def cheapest_sizes(count, milliseconds):
    """The batch sizes that images are best packed into.

    Args:
        count: of images, 1 or more.
        milliseconds: pairs of a batch size and what such a batch takes.

    Returns:
        Tuple of batch sizes, the largest first, that hold `count` images between them in the least
        time.
    """
    # Of each count from 0, the least time and the size that comes last.
    best = [(0.0, None)]
    for images in range(1, count + 1):
        best.append(
            min((best[max(0, images - size)][0] + took, size) for size, took in milliseconds)
        )
    sizes = []
    while count > 0:
        sizes.append(best[count][1])
        count -= sizes[-1]
    return tuple(sorted(sizes, reverse=True))


def _checked_sizes(description, directory):
    sizes = description.get("batch_sizes") or [1]
    if not isinstance(sizes, list) or not all(map(is_whole, sizes)) or 1 not in sizes:
        raise InputError(
            "`batch_sizes` of a converted network must be a list of whole numbers from 1 on. "
            f"Received: {directory}, with {sizes!r}."
        )
    if len(sizes) == 1:
        raise InputError(
            "The network must have been converted for batches, with --batch_sizes. "
            f"Received: {directory}, for one image at a time."
        )
    return tuple(sorted(sizes))


def _candidates():
    """Numbers of threads, powers of two up to the processors."""
    return [2**power for power in range(max(1, os.cpu_count() or 1).bit_length())]


def _filled(rows, size):
    """Rows and zeros after them, to the size of a batch."""
    if len(rows) == size:
        return np.ascontiguousarray(rows)
    return np.concatenate([rows, np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)])
