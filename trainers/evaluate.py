"""Writes the report of a finished run again: every exit and every budget on the test images.

    python -m trainers.evaluate --run_dir runs/digits
    python -m trainers.evaluate --run_dir runs/digits --static_runs runs/small,runs/large --latency

With --static_runs, finished runs of trainers.train_static on the same data, it says whether early
exit beats networks with one exit that cost the same. With --latency it measures milliseconds, at
batch 1 and 64.
"""

from absl import flags

from tf_adaptive.programs import program
from tf_adaptive.runs.evaluate import report_run

_RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of a finished run", required=True)
_MEASURE = flags.DEFINE_string(
    "measure", "max_probability", "confidence: max_probability, entropy or margin"
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "images in a batch")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets")
_STATIC_RUNS = flags.DEFINE_list(
    "static_runs", [], "runs of networks with one exit to compare early exit with"
)
_LATENCY = flags.DEFINE_bool(
    "latency", False, "measure the time to each exit and with early exit, batch norms folded"
)


def main():
    report_run(
        _RUN_DIR.value,
        measure=_MEASURE.value,
        batch_size=_BATCH_SIZE.value,
        data_dir=_DATA_DIR.value,
        static_runs=_STATIC_RUNS.value,
        latency=_LATENCY.value,
    )


if __name__ == "__main__":
    program.run(main, needs=("data", "report"))
