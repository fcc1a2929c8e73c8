"""One point of benchmarks.growth: a network of some size, run in one way, its time and memory."""

import dataclasses
import itertools
import pathlib
import re
import time

import keras
import numpy as np
import tensorflow as tf

from benchmarks.half_leave import half_leave
from savedmodels.tflite.conversion import convert_model
from savedmodels.tflite.exit_runner import StagedRunner
from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.data.array_images import ArrayImages
from tf_adaptive.data.image_dataset import ImageDataset
from tf_adaptive.exits.costs import profile
from tf_adaptive.exits.early_exit import EarlyExit
from tf_adaptive.exits.losses import multi_exit_cross_entropy
from tf_adaptive.exits.operating_point import OperatingPoint
from tf_adaptive.exits.thresholds import NEVER
from tf_adaptive.exits.timing import milliseconds_of
from tf_adaptive.images import joined, normalized
from tf_adaptive.models.msdnet import MSDNet
from tf_adaptive.reports.logits import collect_logits
from tf_adaptive.training.gradient_step import sgd
from tf_adaptive.training.multi_exit_step import TrainStep

TRAINING, WHOLE, EARLY = "training", "whole network", "early exit"
LITERT, LITERT_EARLY = "LiteRT", "LiteRT early exit"
PATHS = (TRAINING, WHOLE, EARLY, LITERT, LITERT_EARLY)

_PRESET = "msdnet_cifar_lingrow5"
# Different ones of a pass, so that a whole number of them leaves at each of six exits.
_PICTURES = 64
_CHANNELS = 3
_MEAN, _STD = (0.5,) * _CHANNELS, (0.25,) * _CHANNELS


@dataclasses.dataclass(frozen=True)
class Point:
    """What is measured.

    Attributes:
        path: one of `PATHS`.
        batch: images in a call.
        images: in a pass over all batches, at least one; training is a step on one batch.
        exits: blocks of the MSDNet, each with an exit.
        depth: layers of a block.
        resolution: pixels a side.
        classes: how many.
        threads: of TensorFlow, within and between operations, or of LiteRT.
    """

    path: str
    batch: int = 16
    images: int = 64
    exits: int = 5
    depth: int = 2
    resolution: int = 32
    classes: int = 10
    threads: int = 1

    @property
    def runs_in_litert(self):
        return self.path in (LITERT, LITERT_EARLY)

    @property
    def network(self):
        """The point of the whole network that it has in common with others."""
        batch = max(self.batch, _PICTURES)
        return dataclasses.replace(self, path=WHOLE, batch=batch, images=1, threads=1)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What is found out of a network before it is measured.

    Attributes:
        operating_point: at which half of the pictures that reach an exit leave.
        lazy_macs: of each exit.
    """

    operating_point: OperatingPoint
    lazy_macs: tuple


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a point costs.

    Attributes:
        milliseconds: of an image, the median of the passes.
        cpu_milliseconds: of an image, those that all threads of the process computed.
        megabytes: the most memory of its own that the process held, without files such as
            libraries, above what it held before it built the network.
        macs: mean multiply-accumulates of an image; in training those of the forward pass.
    """

    milliseconds: float
    cpu_milliseconds: float
    megabytes: float
    macs: float


def prepare(point, directory):
    """Finds thresholds, and writes the network for LiteRT.

    Args:
        point: `Point.network`.
        directory: empty folder for the converted network; None for one that LiteRT does not run.

    Returns:
        `Prepared`.
    """
    network = _network(point)
    pictures = _pictures(point)
    labels = np.zeros(len(pictures), int)
    batches = [(images, labels) for images in _batches(pictures, _PICTURES)]
    logits, _ = collect_logits(network, batches)
    operating_point = half_leave(logits, "max_probability")
    if directory is not None:
        _convert(EarlyExit(network, operating_point), pictures[:_PICTURES], directory)
    return Prepared(operating_point, tuple(cost.lazy_macs for cost in profile(network)))


def measure(point, prepared, directory, *, calls):
    """What a point costs; its memory only where the process measures no other.

    Args:
        point: `Point`.
        prepared: what `prepare` gave for its network.
        directory: which `prepare` filled.
        calls: timed passes.

    Returns:
        `Measured`.
    """
    at_first = _megabytes("RssAnon")
    run, batches, images = _run_of(point, prepared, directory)
    run(batches)
    cpu_seconds = time.process_time()
    milliseconds = np.median(milliseconds_of([(run, [batches])], calls=calls)) / images
    # Two passes more warm up, as the first one, which traces.
    cpu_seconds = (time.process_time() - cpu_seconds) / (calls + 2)
    megabytes = _megabytes("VmHWM") - _megabytes("RssFile") - at_first
    macs = prepared.lazy_macs[-1]
    if point.path in (EARLY, LITERT_EARLY):
        exits = run(batches)["exit"]
        macs = np.mean(np.array(prepared.lazy_macs)[np.asarray(exits) - 1])
    return Measured(
        milliseconds=float(milliseconds),
        cpu_milliseconds=1000 * cpu_seconds / images,
        megabytes=megabytes,
        macs=float(macs),
    )


def measure_alone(point, prepared, directory, *, calls):
    """`measure` in a new process, with the threads of the point."""
    tf.config.threading.set_intra_op_parallelism_threads(point.threads)
    tf.config.threading.set_inter_op_parallelism_threads(point.threads)
    return measure(point, prepared, directory, calls=calls)


def megabytes_at_first():
    """What a process that has measured nothing holds of its own."""
    return _megabytes("RssAnon")


def _run_of(point, prepared, directory):
    """A function of a pass, its batches, and how many images those are."""
    pictures = _pictures(point)
    if point.runs_in_litert:
        return _run_in_litert(point, directory), *_repeated(list(pictures), point)
    if point.path == TRAINING:
        images = _batches(pictures, point.batch)[0]
        return _run_of_training(point), (images, _labels(point)), point.batch
    batches, images = _repeated(_batches(pictures, point.batch), point)
    model = fold_batch_norm(_network(point))
    if point.path == EARLY:
        early = EarlyExit(model, prepared.operating_point)
        # What `EarlyExit.predict` does with a data set.
        return lambda batches: joined(map(early, batches)), batches, images
    whole = tf.function(
        lambda images: model(images, training=False),
        input_signature=[tf.TensorSpec((None, *model.input_shape[1:]))],
    )
    return lambda batches: [whole(images) for images in batches], batches, images


def _run_in_litert(point, directory):
    thresholds = None if point.path == LITERT_EARLY else [NEVER] * (point.exits - 1)
    runner = StagedRunner(directory, thresholds=thresholds, threads=point.threads)
    return lambda pictures: {"exit": [runner(picture).exit for picture in pictures]}


def _run_of_training(point):
    step = TrainStep(
        _network(point),
        sgd(0.01),
        lambda labels, logits: multi_exit_cross_entropy(labels, logits)[0],
        weight_decay=1e-4,
    )

    def run(batch):
        step(*batch)
        # Reading it waits for the step.
        return step.metrics()["loss"]

    return run


def _repeated(batches, point):
    """Batches for a pass over the point's images, again and again the same, and their images."""
    count = max(1, point.images // point.batch)
    return list(itertools.islice(itertools.cycle(batches), count)), count * point.batch


def _network(point):
    keras.utils.set_random_seed(0)
    return MSDNet.from_preset(
        _PRESET,
        input_shape=(point.resolution, point.resolution, _CHANNELS),
        num_classes=point.classes,
        block_layers=(point.depth,) * point.exits,
    )


def _pictures(point):
    """Noise of several contrasts, uint8 `(pictures, height, width, channels)`."""
    count = max(point.batch, _PICTURES)
    random = np.random.default_rng(0)
    shape = (count, point.resolution, point.resolution, _CHANNELS)
    contrasts = random.uniform(0.1, 1.0, (count, 1, 1, 1)).astype("float32")
    return (255 * contrasts * random.random(shape, "float32")).astype("uint8")


def _batches(pictures, size):
    """Whole batches, normalised."""
    count = len(pictures) // size
    return [
        normalized(tf.constant(batch), _MEAN, _STD)
        for batch in pictures[: count * size].reshape(count, size, *pictures.shape[1:])
    ]


def _labels(point):
    labels = np.random.default_rng(0).integers(point.classes, size=point.batch)
    return tf.constant(labels, tf.int32)


def _convert(early, pictures, directory):
    labels = np.zeros(len(pictures), int)
    images = ArrayImages(pictures, labels, flip=False)
    classes = early.model.outputs[0].shape[-1]
    dataset = ImageDataset(
        name="random",
        class_names=map(str, range(classes)),
        mean=_MEAN,
        std=_STD,
        **dict.fromkeys(("train", "validation", "calibration", "test"), images),
    )
    convert_model(early, dataset, directory, single_file=True)


def _megabytes(field):
    """What Linux tells of the memory of this process."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1]) / 1000
