"""What 8 bits cost in accuracy, with and without training for them, and what they save.

    python -m trainers.train_quantized --run_dir runs/demo --output_dir runs/demo_int8
    python -m benchmarks.quantization --run_dir runs/demo --quantized_run_dir runs/demo_int8

Converts the one run to TFLite in float32, in float16 and in int8 after training, and the other in
int8 with the ranges it was trained with, a file for each stage. Prints the test accuracy of every
exit, the size of the files, and the LiteRT time of an image on one thread, through all stages and
with early exit, as ratios to float32.
"""

import pathlib
import tempfile

import numpy as np
from absl import flags

from benchmarks.passes import seconds_per_image
from savedmodels.tflite.conversion import convert_run
from savedmodels.tflite.exit_runner import StagedRunner
from tf_adaptive.compression.quantization import is_quantized
from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.exits.operating_point import DEFAULT_ACCURACY_DROP
from tf_adaptive.models.drnet import is_routed
from tf_adaptive.processor import told_processor
from tf_adaptive.programs import program
from tf_adaptive.runs.dataset import load_run_dataset, settings_of_data
from tf_adaptive.runs.directory import load_finished_run

_RUN_DIR = flags.DEFINE_string("run_dir", None, "finished run in float32", required=True)
_QUANTIZED_RUN_DIR = flags.DEFINE_string(
    "quantized_run_dir", None, "the run that trainers.train_quantized made of it", required=True
)
_ACCURACY_DROP = flags.DEFINE_float(
    "accuracy_drop",
    DEFAULT_ACCURACY_DROP,
    "points below the last exit's accuracy that each run's thresholds may cost",
)
_TEST_IMAGES = flags.DEFINE_integer(
    "test_images", None, "test images for the accuracies; all if unset"
)
_IMAGES = flags.DEFINE_integer("images", 200, "test images in a timed pass")
_REPEATS = flags.DEFINE_integer("repeats", 15, "timed passes of each")
_CALIBRATION_IMAGES = flags.DEFINE_integer(
    "calibration_images", 1000, "training images to measure the ranges of int8 after training on"
)


def main():
    check_whole("repeats", _REPEATS.value, least=1)
    dataset = _dataset_of_both()
    size = dataset.sizes["test"]
    check_whole("images", _IMAGES.value, least=1, most=size)
    pictures = dataset.pictures("test", np.linspace(0, size - 1, _IMAGES.value).astype(int))
    test_images = size if _TEST_IMAGES.value is None else _TEST_IMAGES.value
    conversions = {
        "float32": (_RUN_DIR.value, "float32"),
        "float16": (_RUN_DIR.value, "float16"),
        "int8 after training": (_RUN_DIR.value, "int8"),
        "int8 trained": (_QUANTIZED_RUN_DIR.value, "int8"),
    }
    with tempfile.TemporaryDirectory() as directory:
        tables, runners = {}, []
        for name, (run_dir, precision) in conversions.items():
            folder = pathlib.Path(directory, name)
            tables[name] = convert_run(
                run_dir,
                folder,
                precision=precision,
                accuracy_drop=_ACCURACY_DROP.value,
                test_images=test_images,
                # What is lost is what is asked for.
                least_agreement=0,
                calibration_images=_CALIBRATION_IMAGES.value,
            )
            runners.append(StagedRunner(folder))
        whole, early = (
            seconds_per_image(functions, pictures, repeats=_REPEATS.value)
            for functions in ([runner.all_exits for runner in runners], runners)
        )
        exits = [np.mean([runner(picture).exit for picture in pictures]) for runner in runners]
    _print_table(tables, whole, early, exits)


def _dataset_of_both():
    """The data of both runs, which must be the same network's."""
    config, model = load_finished_run(_RUN_DIR.value)
    quantized_config, quantized = load_finished_run(_QUANTIZED_RUN_DIR.value)
    if is_routed(model) or is_quantized(model):
        raise InputError(
            "`run_dir` must be the run of a network with exits in float32. "
            f"Received: {_RUN_DIR.value}, which is that of another kind."
        )
    if not is_quantized(quantized):
        raise InputError(
            "`quantized_run_dir` must be one that trainers.train_quantized wrote. "
            f"Received: {_QUANTIZED_RUN_DIR.value}, whose network is not quantized."
        )
    # Where the data are is no matter.
    ours, theirs = (
        settings_of_data(settings) | {"data_dir": None} for settings in (config, quantized_config)
    )
    if ours != theirs:
        raise InputError(
            "`quantized_run_dir` must be what became of `run_dir`. Received: "
            f"{_QUANTIZED_RUN_DIR.value}, which has another network or other data."
        )
    return load_run_dataset(config)


def _print_table(tables, whole, early, exits):
    """Prints a row per conversion, then the times that the ratios are to."""
    numbers = [row["exit"] for row in tables["float32"]]
    print(told_processor())
    print(
        f"{'test accuracy, %':<20}"
        + "".join(f"{f'exit {number}':>8}" for number in numbers)
        + f"{'kB':>9}{'whole':>8}{'early':>8}{'mean exit':>11}"
    )
    for place, (name, table) in enumerate(tables.items()):
        accuracies = "".join(f"{float(row['accuracy_percent']):>8.2f}" for row in table)
        size = sum({row["file"]: row["file_bytes"] for row in table}.values())
        ratios = "".join(
            f"{np.median(seconds[:, place] / whole[:, 0]):>8.3f}" for seconds in (whole, early)
        )
        print(f"{name:<20}{accuracies}{size / 1000:>9.1f}{ratios}{exits[place]:>11.2f}")
    print(
        f"\nOn {tables['float32'][0]['images']} test images. Times are ratios to all stages in "
        f"float32, {1000 * np.median(whole[:, 0]):.3f} ms an image."
    )


if __name__ == "__main__":
    program.run(main)
