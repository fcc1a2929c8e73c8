"""What many pictures cost on a cluster, and where early exit stops paying there.

    python -m benchmarks.cluster --preset msdnet_imagenet_step4 --num_classes 1000 --image_size 224

Measures on one core of this machine: decoding a picture of several kinds to what the network takes;
every stage of a network with exits on few and on many images, as small batches cost more an image;
and moving an image's state between stages. From these
it reckons the cost of a picture by the whole network, by early exit within a batch, and with
survivors regrouped into full batches, for a share of the images that reach an exit and leave there.
Then it simulates workers of so many cores that are to be done with all pictures by a deadline,
which differ in speed and fail now and then. The network's weights are random: they do not change
what it costs. That cores add up is supposed, and not measured.
"""

import dataclasses
import time

import numpy as np
import tensorflow as tf
from absl import flags
from sklearn.datasets import load_sample_images

from benchmarks.makespan import workers_needed
from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.data.augmentation import resized_center_crop
from tf_adaptive.data.decoding import decode
from tf_adaptive.errors import InputError, check_above_0, check_at_least_0, check_whole
from tf_adaptive.exits.stages import split_stages
from tf_adaptive.images import normalized
from tf_adaptive.models.from_preset import build_network
from tf_adaptive.programs import program

_MODEL = flags.DEFINE_string("model", "msdnet", "network: msdnet or ranet")
_PRESET = flags.DEFINE_string("preset", "msdnet_imagenet_step4", "its configuration")
_NUM_CLASSES = flags.DEFINE_integer("num_classes", 1000, "number of classes")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "pixels a side of what the network takes")
_LEAVING = flags.DEFINE_float("leaving", 0.5, "share of the images that reach an exit and leave")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "images in a batch")
_PICTURES = flags.DEFINE_float("pictures", 1e9, "pictures to classify")
_DEADLINE_HOURS = flags.DEFINE_float("deadline_hours", 24.0, "time for all of them")
_CORES = flags.DEFINE_integer("cores", 16, "cores of a worker")
_SHARD = flags.DEFINE_integer("shard", 100_000, "pictures that a worker takes at once")
_SPREAD = flags.DEFINE_float("spread", 0.1, "standard deviation of the log of workers' speeds")
_FAILURES_PER_DAY = flags.DEFINE_float("failures_per_day", 0.1, "of a worker")
_RESTART_MINUTES = flags.DEFINE_float("restart_minutes", 10.0, "until it is back")
_REPEATS = flags.DEFINE_integer("repeats", 9, "timed calls of each kind")

# Of the pictures, width and height; None for their own.
_KINDS = {"28 pixels, PNG": 28, "224 pixels, JPEG": 224, "640 × 427, JPEG": None}
_SEEDS = range(3)


@dataclasses.dataclass(frozen=True)
class _Stage:
    """What a stage takes.

    Attributes:
        counts, seconds: of a call, by the number of images in it.
        moved: seconds of moving an image's state to it.
    """

    counts: np.ndarray
    seconds: np.ndarray
    moved: float

    def call(self, count):
        """Seconds of a call on so many images, which need not be whole."""
        return float(np.interp(count, self.counts, self.seconds))


def main():
    for flag in (_NUM_CLASSES, _IMAGE_SIZE, _CORES, _SHARD, _REPEATS):
        check_whole(flag.name, flag.value, least=1)
    check_whole("batch_size", _BATCH_SIZE.value, least=2)
    for flag in (_PICTURES, _DEADLINE_HOURS):
        check_above_0(flag.name, flag.value)
    for flag in (_SPREAD, _FAILURES_PER_DAY, _RESTART_MINUTES):
        check_at_least_0(flag.name, flag.value)
    if not 0 <= _LEAVING.value <= 1:
        raise InputError(f"`leaving` must be from 0 to 1. Received: leaving={_LEAVING.value}.")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    network = build_network(
        _MODEL.value,
        _PRESET.value,
        input_shape=(_IMAGE_SIZE.value, _IMAGE_SIZE.value, 3),
        num_classes=_NUM_CLASSES.value,
    )
    stages = _timed(split_stages(fold_batch_norm(network)))
    _print_stages(stages)
    decoding = {kind: _decoding_seconds(pixels) for kind, pixels in _KINDS.items()}
    _print_costs(stages, decoding)


def _timed(stages):
    """The `_Stage` of each."""
    counts = 2 ** np.arange(int(np.log2(_BATCH_SIZE.value)) + 1)
    counts = np.unique([*counts, _BATCH_SIZE.value])
    times = np.array([_stage_seconds(stages, int(count)) for count in counts])
    return [
        _Stage(counts, times[:, place, 0], times[-1, place, 1] / counts[-1])
        for place in range(len(stages))
    ]


def _stage_seconds(stages, count):
    """For each stage, the median seconds of a call and of gathering what it is handed."""
    shape = (count, _IMAGE_SIZE.value, _IMAGE_SIZE.value, 3)
    images = np.random.default_rng(0).standard_normal(shape).astype("float32")
    state = {stages[0].takes[0]: tf.constant(images)}
    rows = tf.range(count)
    seconds = []
    for stage in stages:
        run = tf.function(stage.__call__)
        gather = tf.function(lambda state: {n: tf.gather(v, rows) for n, v in state.items()})
        own = [(_seconds(run, state), _seconds(gather, state)) for _ in range(_REPEATS.value + 1)]
        # The first ones trace.
        seconds.append(np.median(own[1:], axis=0))
        _, state = run(state)
    return seconds


def _seconds(function, *arguments):
    start = time.perf_counter()
    tf.nest.map_structure(lambda tensor: tensor.numpy(), function(*arguments))
    return time.perf_counter() - start


def _decoding_seconds(pixels):
    """Seconds of one picture, from its bytes to what the network takes."""
    photos = load_sample_images().images
    if pixels is not None:
        resized = (tf.image.resize(photo, (pixels, pixels)) for photo in photos)
        photos = [tf.cast(tf.round(image), tf.uint8) for image in resized]
    encode = tf.io.encode_png if pixels == 28 else tf.io.encode_jpeg

    def image_of(file):
        image = resized_center_crop(decode(file, channels=3), size=_IMAGE_SIZE.value)
        return normalized(image, (0.5,) * 3, (0.25,) * 3)

    batch = _BATCH_SIZE.value
    files = tf.data.Dataset.from_tensor_slices([encode(photo).numpy() for photo in photos])
    batches = iter(files.repeat().map(image_of).batch(batch))
    # The first one starts it.
    times = [_seconds(lambda: next(batches)) for _ in range(_REPEATS.value + 1)]
    return float(np.median(times[1:])) / batch


def _print_stages(stages):
    counts = sorted({1, min(8, _BATCH_SIZE.value), _BATCH_SIZE.value})
    told = ", ".join(map(str, counts))
    heads = f"{f'µs an image in batches of {told}':<36} {'µs to move one':>15}"
    print(f"{'stage':>5}  {heads}  reached by")
    for place, stage in enumerate(stages):
        times = " ".join(f"{1e6 * stage.call(count) / count:>9.0f}" for count in counts)
        moved = 1e6 * stage.moved if place else 0
        print(f"{place + 1:>5}  {times:<36} {moved:>15.1f}  {_reached(place):.3f}")


def _reached(place):
    return (1 - _LEAVING.value) ** place


def _network_seconds(stages):
    """Seconds of a picture by the way it is classified."""
    batch = _BATCH_SIZE.value
    reached = [(_reached(place), stage) for place, stage in enumerate(stages)]
    moved = sum(share * stage.moved for share, stage in reached[1:])
    full = sum(share * stage.call(batch) for share, stage in reached) / batch
    return {
        "whole": sum(stage.call(batch) for stage in stages) / batch,
        # Later stages run on fewer images, at least on one.
        "early exit": moved
        + sum(stage.call(max(1, share * batch)) for share, stage in reached) / batch,
        # Survivors are gathered, and put together with those of other batches.
        "regrouped": full + 2 * moved,
    }


def _print_costs(stages, decoding):
    network = _network_seconds(stages)
    print(f"\n{'':<18} {'µs a picture on a core':>34}  {'workers for the deadline':>34}")
    heads = "".join(f" {way:>11}" for way in network)
    print(f"{'pictures':<18} {'decoding':>9}{heads} {heads}   whole ÷ early exit")
    for kind, decoding_seconds in decoding.items():
        seconds = {way: decoding_seconds + own for way, own in network.items()}
        costs = "".join(f" {1e6 * of_way:>11.0f}" for of_way in seconds.values())
        workers = "".join(f" {_workers(of_way) or 'too late':>11}" for of_way in seconds.values())
        ratio = seconds["whole"] / seconds["early exit"]
        print(
            f"{kind:<18} {1e6 * decoding_seconds:>9.0f}{costs} {workers}   {ratio:.2f}", flush=True
        )
    # Where (decoding + whole) / (decoding + early exit) is 1.1.
    bound = 10 * (network["whole"] - network["early exit"]) - network["early exit"]
    print(
        "\nThe whole network takes less than 1.1 times early exit's time where decoding a picture "
        f"takes more than {1e6 * max(0.0, bound):.0f} µs."
    )


def _workers(seconds):
    """How many workers are done by the deadline, a picture taking a core so long."""
    return workers_needed(
        _DEADLINE_HOURS.value,
        seeds=_SEEDS,
        shards=int(np.ceil(_PICTURES.value / _SHARD.value)),
        hours_a_shard=_SHARD.value * seconds / _CORES.value / 3600,
        spread=_SPREAD.value,
        failures_per_hour=_FAILURES_PER_DAY.value / 24,
        restart_hours=_RESTART_MINUTES.value / 60,
    )


if __name__ == "__main__":
    program.run(main, needs=("data",))
