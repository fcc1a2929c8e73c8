"""Early exit on batches in LiteRT, beside TensorFlow's and beside LiteRT one image after another.

    python -m savedmodels.convert_tflite --run_dir runs/mine --output tflite/mine --batch_sizes 8,64
    python -m benchmarks.litert_batches --run_dir runs/mine --tflite_dir tflite/mine

All take the same uint8 test images in turn, at the thresholds of the folder. Prints which batch
sizes and threads the runner chose, median milliseconds an image, and ratios to TensorFlow's time.
"""

import numpy as np
from absl import flags

from savedmodels.description import read_description
from savedmodels.tflite.batch_runner import BatchRunner
from savedmodels.tflite.exit_runner import StagedRunner
from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.exits.early_exit import EarlyExit
from tf_adaptive.exits.operating_point import OperatingPoint
from tf_adaptive.exits.timing import milliseconds_of
from tf_adaptive.images import normalized
from tf_adaptive.processor import told_processor
from tf_adaptive.programs import program
from tf_adaptive.runs.checks import load_run_with_exits
from tf_adaptive.runs.dataset import load_run_dataset

_RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of a finished run", required=True)
_TFLITE_DIR = flags.DEFINE_string(
    "tflite_dir", None, "what savedmodels.convert_tflite --batch_sizes wrote of it", required=True
)
_IMAGES = flags.DEFINE_list("images", ["1", "8", "64", "256"], "images that are at hand together")
_REPEATS = flags.DEFINE_integer("repeats", 15, "timed calls of each")

# Of a pass, about.
_IMAGES_IN_ALL = 256
_LEAST_AGREEMENT = 0.99


def main():
    check_whole("repeats", _REPEATS.value, least=1)
    config, model = load_run_with_exits(_RUN_DIR.value)
    dataset = load_run_dataset(config)
    description = read_description(_TFLITE_DIR.value, {"thresholds": list, "measure": str})
    point = OperatingPoint.from_description(description, len(model.outputs))
    early = EarlyExit(fold_batch_norm(model), point)
    batches, one = BatchRunner(_TFLITE_DIR.value), StagedRunner(_TFLITE_DIR.value)
    runs = {
        "TensorFlow": lambda images: early(normalized(images, dataset.mean, dataset.std)),
        "LiteRT, one by one": lambda images: [one(image) for image in images],
        "LiteRT, batches": batches,
    }
    print(f"{told_processor()}; batches of LiteRT (threads): {_told_sizes(batches)}")
    print(f"{'images':>6} {'':<20} {'ms an image':>11} {'ratio':>7}")
    for count in program.numbers(_IMAGES, int):
        check_whole("images", count, least=1, most=dataset.sizes["test"])
        given = _given(dataset, count)
        _compare(runs["TensorFlow"], batches, given[0])
        times = np.median(
            milliseconds_of([(run, given) for run in runs.values()], calls=_REPEATS.value), axis=1
        )
        for name, milliseconds in zip(runs, times, strict=True):
            ratio = milliseconds / times[0]
            print(f"{count:>6} {name:<20} {milliseconds / count:>11.3f} {ratio:>7.3f}")


def _given(dataset, count):
    """Lists of so many test images, uint8, spread over the test set."""
    size = dataset.sizes["test"]
    calls = max(1, min(_IMAGES_IN_ALL, size) // count)
    positions = np.linspace(0, size - 1, calls * count).astype(int)
    return np.split(np.stack(dataset.pictures("test", positions)), calls)


def _compare(ours, batches, images):
    """Refuses batches in LiteRT that answer otherwise than TensorFlow."""
    same = np.mean(np.asarray(ours(images)["class"]) == batches(images)["class"])
    if same < _LEAST_AGREEMENT:
        raise InputError(
            "`tflite_dir` must be of the run, and answer as it does for "
            f"{_LEAST_AGREEMENT:.0%} of the images. Received: {same:.1%}."
        )


def _told_sizes(batches):
    return ", ".join(f"{size} ({batches.threads[size]})" for size in batches.batch_sizes)


if __name__ == "__main__":
    program.run(main, needs=("data", "tflite"))
