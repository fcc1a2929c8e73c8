"""Writes the report of a finished run again: every exit and every budget on the test images.

python -m trainers.evaluate --run_dir runs/digits
"""

from absl import flags

from trainers import program
from trainers.reporting import report_run

_RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of a finished run", required=True)
_MEASURE = flags.DEFINE_string(
    "measure", "max_probability", "confidence: max_probability, entropy or margin"
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "images in a batch")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets")


def main():
    report_run(
        _RUN_DIR.value,
        measure=_MEASURE.value,
        batch_size=_BATCH_SIZE.value,
        data_dir=_DATA_DIR.value,
    )


if __name__ == "__main__":
    program.run(main)
