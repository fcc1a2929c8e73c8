"""How soon a watched network notices that its images have become blurred, and how often wrongly.

    python -m benchmarks.watching --run_dir runs/fashion_mnist --risk 0.01

Streams of test images in random order, at the thresholds of a promise, of which a share is given to
the whole network too: of clean images alone, where each alarm is false, and of images that are
blurred from the middle on.
"""

import warnings

import numpy as np
import tensorflow as tf
from absl import flags

from savedmodels.watch import Watch
from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.exits.evaluation import exits_along, losses
from tf_adaptive.programs import program
from tf_adaptive.programs.progress_bar import with_bar
from tf_adaptive.reports.logits import collect_logits
from tf_adaptive.runs.run import load_run

_RUN_DIR = flags.DEFINE_string("run_dir", None, "run of a network with exits", required=True)
_RISK = flags.DEFINE_float("risk", 0.01, "of the promise")
_SHADOW_SHARE = flags.DEFINE_float("shadow_share", 0.01, "of the images, that are looked at")
_STREAMS = flags.DEFINE_integer("streams", 100, "of clean images, and as many that become blurred")
_IMAGES = flags.DEFINE_integer("images", 100_000, "in a stream")
_BLUR = flags.DEFINE_integer("blur", 3, "pixels a side of the mean that blurs, an odd number")
_BATCH_SIZE = 256


def main():
    for flag in (_STREAMS, _IMAGES, _BLUR):
        check_whole(flag.name, flag.value, least=1)
    run = load_run(_RUN_DIR.value)
    if run.routes:
        raise InputError("`run_dir` must be the run of a network with exits. Received: a DRNet.")
    point = run.operating_point(risk=_RISK.value)
    dataset = run.dataset()
    clean, blurred = (_differs(run.model, dataset, point, blur) for blur in (1, _BLUR.value))
    print(
        f"{point.promise.words()} Early exit differs from the whole network on "
        f"{100 * clean.mean():.2f} % of the clean test images, on {100 * blurred.mean():.2f} % of "
        f"the blurred ones; at most {100 * point.family[-1][1]:.2f} % were promised."
    )
    for words, after in (("clean", clean), ("blurred", blurred)):
        alarms = [_first_alarm(point, clean, after, seed) for seed in range(_STREAMS.value)]
        found = sorted(place for place in alarms if place is not None)
        line = (
            f"{words}: {len(found)} of {_STREAMS.value} streams of {_IMAGES.value:,} with an alarm"
        )
        if found and words == "blurred":
            late = [place - _IMAGES.value // 2 for place in found]
            line += (
                f", after {np.median(late):,.0f} blurred images in the median, "
                f"{max(late):,} at most; {sum(place < 0 for place in late)} before them"
            )
        print(f"{line}.", flush=True)


def _differs(model, dataset, point, blur):
    """Whether early exit and the whole network differ, of each test image."""
    batches = dataset.batches("test", _BATCH_SIZE).map(
        lambda images, labels: (tf.nn.avg_pool2d(images, blur, 1, "SAME"), labels)
    )
    shown = with_bar(batches, dataset.sizes["test"], _BATCH_SIZE, "test images")
    logits, _ = collect_logits(model, shown)
    exits = exits_along(logits, [point.thresholds], point.measure, point.temperatures)
    _, _, (differs,) = losses(logits, None, exits)
    return differs


def _first_alarm(point, before, after, seed):
    """The place in a stream at which the watch first goes back; None where it does not."""
    random = np.random.default_rng(seed)
    watch = Watch(point.family, shadow_share=_SHADOW_SHARE.value, seed=seed)
    half = _IMAGES.value // 2
    stream = np.concatenate([random.choice(each, half) for each in (before, after)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place in watch.shadowed(len(stream)):
            watch.compared(stream[place])
            if watch.alarms:
                return int(place)
    return None


if __name__ == "__main__":
    program.run(main, needs=("data",))
