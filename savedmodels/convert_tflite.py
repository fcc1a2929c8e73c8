"""Converts a finished run to TFLite, for phones and small devices.

    python -m savedmodels.convert_tflite --run_dir runs/demo --output tflite/demo --precision int8

OUTPUT holds the .tflite files, with a signature for each stage, or for a DRNet's predictor and each
resolution; `description.json`, what `savedmodels.tflite.exit_runner` or
`savedmodels.tflite.resolution_runner` needs to know; `agreement.csv`: size, accuracy and agreement
with the Keras model; and `run.py`, which classifies pictures where nothing of this package is:
`pip install numpy ai-edge-litert pillow`, `python run.py photo.jpg`. A run of
trainers.train_quantized has the ranges of int8 in its network, others have them measured.
"""

# ruff: noqa: E402 - TensorFlow's notices come when it is first imported.
from absl import flags

from tf_adaptive.programs import program, quiet

quiet.import_tensorflow()

from . import flags as operating_point_flags
from .tflite.conversion import convert_run

_RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of a finished run", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "folder to write", required=True)
_PRECISION = flags.DEFINE_string("precision", "float32", "float32, float16 or int8")
_SINGLE_FILE = flags.DEFINE_bool(
    "single_file", False, "one file that stores equal weights once, not one for each signature"
)
_TEST_IMAGES = flags.DEFINE_integer(
    "test_images", None, "test images to compare on; 1,000 or all if unset"
)
_LEAST_AGREEMENT = flags.DEFINE_float(
    "least_agreement", None, "percent of them to agree on; 99.9, 99 or 95 by precision if unset"
)
_CALIBRATION_IMAGES = flags.DEFINE_integer(
    "calibration_images", 100, "training images to measure the ranges of int8 on"
)
_BATCH_SIZES = flags.DEFINE_list(
    "batch_sizes",
    ["1"],
    "images in the batches to convert for beside one, as 8,32, for many pictures at once",
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets")


def main():
    table = convert_run(
        _RUN_DIR.value,
        _OUTPUT.value,
        precision=_PRECISION.value,
        single_file=_SINGLE_FILE.value,
        **operating_point_flags.chosen(),
        test_images=_TEST_IMAGES.value,
        least_agreement=_LEAST_AGREEMENT.value,
        calibration_images=_CALIBRATION_IMAGES.value,
        batch_sizes=program.numbers(_BATCH_SIZES, int),
        data_dir=_DATA_DIR.value,
    )
    place = next(iter(table[0]))
    print(
        f"\n{place:>10} {'file':<25} {'kB':>9} {'test accuracy':>14} {'Keras':>9} {'agreement':>10}"
    )
    for row in table:
        print(
            f"{row[place]:>10} {row['file']:<25} {row['file_bytes'] / 1000:>9.1f} "
            f"{float(row['accuracy_percent']):>12.2f} % "
            f"{float(row['keras_accuracy_percent']):>7.2f} % "
            f"{float(row['agreement_percent']):>8.2f} %"
        )
    print(f"\nOn {table[0]['images']} test images. Files: {_OUTPUT.value}")


if __name__ == "__main__":
    program.run(main, needs=("data", "tflite"))
