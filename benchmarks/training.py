"""How many images a second the training step takes, and what share the input pipeline has.

python -m benchmarks.training --dataset fashion_mnist --preset msdnet_cifar_lingrow5
"""

import itertools
import time

import numpy as np
from absl import flags

from tf_adaptive.data import load_dataset
from tf_adaptive.exits.losses import multi_exit_cross_entropy
from tf_adaptive.models.from_preset import build_network
from tf_adaptive.processor import told_processor
from tf_adaptive.programs import program
from tf_adaptive.training.gradient_step import sgd
from tf_adaptive.training.multi_exit_step import TrainStep
from trainers.flags import network as network_flags

flags.adopt_module_key_flags(network_flags)
_DATASET = flags.DEFINE_string("dataset", "digits", "as in trainers.train_multi_exit")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "images in a batch")
_STEPS = flags.DEFINE_integer("steps", 15, "steps in a timed block")
_REPEATS = flags.DEFINE_integer("repeats", 7, "timed blocks of each kind")


def main():
    network_flags.fill_preset()
    dataset = load_dataset(_DATASET.value, data_dir=_DATA_DIR.value)
    steps = {
        precision: _train_step(dataset, dtype)
        for precision, dtype in (("float32", "float32"), ("bfloat16", "mixed_bfloat16"))
    }
    batches = _endless_batches(dataset)
    fixed = next(batches)
    for step in steps.values():
        step(*fixed)

    # In turn, so that a change of the machine's speed falls on all of them alike.
    seconds = {name: [] for name in ("input alone", *steps, *(f"{n}, fed" for n in steps))}
    for _ in range(_REPEATS.value):
        seconds["input alone"].append(_seconds(lambda: next(batches)))
        for name, step in steps.items():
            seconds[name].append(_seconds(lambda step=step: step(*fixed), step))
            seconds[f"{name}, fed"].append(_seconds(lambda step=step: step(*next(batches)), step))

    images = _STEPS.value * _BATCH_SIZE.value
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    print(told_processor())
    print(f"{'':<24} {'images/s':>10} {'ms/image':>10}")
    for name, median in medians.items():
        print(f"{name:<24} {images / median:>10.0f} {1000 * median / images:>10.3f}")
    for name in steps:
        share = np.median(1 - np.array(seconds[name]) / np.array(seconds[f"{name}, fed"]))
        print(f"share of the input pipeline, {name}: {100 * share:.1f} %")
    ratio = np.median(np.array(seconds["bfloat16, fed"]) / np.array(seconds["float32, fed"]))
    print(f"time in bfloat16 / time in float32: {ratio:.2f}")


def _train_step(dataset, dtype):
    model = build_network(
        network_flags.MODEL.value,
        network_flags.PRESET.value,
        input_shape=dataset.image_shape,
        num_classes=dataset.num_classes,
        dtype=dtype,
    )
    return TrainStep(
        model,
        sgd(0.01),
        lambda labels, logits: multi_exit_cross_entropy(labels, logits)[0],
        weight_decay=1e-4,
    )


def _endless_batches(dataset):
    for epoch in itertools.count():
        yield from dataset.training_batches(_BATCH_SIZE.value, epoch=epoch, seed=0)


def _seconds(run, step=None):
    start = time.perf_counter()
    for _ in range(_STEPS.value):
        run()
    if step is not None:
        # Steps run ahead of Python; reading a sum waits for them.
        step.metrics()
    return time.perf_counter() - start


if __name__ == "__main__":
    program.run(main)
