"""Writes the report of a finished run again: every exit and every budget on the test images.

    python -m trainers.evaluate --run_dir runs/digits
    python -m trainers.evaluate --run_dir runs/digits --static_runs runs/small,runs/large
    python -m trainers.evaluate --run_dir runs/digits --latency batch_size=1,batch_size=64
    python -m trainers.evaluate --run_dir runs/digits --latency engine=litert,threads=1

Thresholds are chosen on the calibration images, or with --calibrate_on folder:PATH on pictures of
one's own, in folders named by their classes or without.
With --static_runs, finished runs of trainers.train_static on the same data, it says whether early
exit beats networks with one exit that cost the same. With --latency it measures the milliseconds
to each exit, by which operating points can be chosen then; with --latency_csv it takes those that
were measured on another device.
"""

import importlib

import tensorflow as tf
from absl import flags

from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.extras import check_extra
from tf_adaptive.programs import program
from tf_adaptive.runs.evaluate import report_run
from tf_adaptive.runs.latency_report import Latency

_RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of a finished run", required=True)
_MEASURE = flags.DEFINE_string(
    "measure", "max_probability", "confidence: max_probability, entropy or margin"
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "images in a batch")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets")
_STATIC_RUNS = flags.DEFINE_list(
    "static_runs", [], "runs of networks with one exit to compare early exit with"
)
_LATENCY = flags.DEFINE_list(
    "latency",
    None,
    "measure the time to each exit and with early exit, batch norms folded: batch_size=1 (once or "
    "more), threads=1, engine=tensorflow or litert",
)
_LATENCY_CSV = flags.DEFINE_string(
    "latency_csv",
    None,
    "table of times that another device took: exit, macs, median_ms, percentile_95_ms",
)
_CALIBRATE_ON = flags.DEFINE_string(
    "calibrate_on", None, "folder:PATH of pictures to choose thresholds on, in class folders or not"
)
_OTHER_RUNS = flags.DEFINE_list(
    "other_runs", [], "runs of networks with exits whose budgets report.html shows too"
)


def main():
    latency = _latency()
    if latency is not None and latency.threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(latency.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    report_run(
        _RUN_DIR.value,
        measure=_MEASURE.value,
        batch_size=_BATCH_SIZE.value,
        data_dir=_DATA_DIR.value,
        static_runs=_STATIC_RUNS.value,
        latency=latency,
        latency_csv=_LATENCY_CSV.value,
        runs_in_litert=_runs_in_litert,
        calibrate_on=_CALIBRATE_ON.value,
        other_runs=_OTHER_RUNS.value,
    )


def _latency():
    """What --latency asks for, `Latency`; None without it."""
    if _LATENCY.value is None:
        return None
    given = {}
    for entry in _LATENCY.value:
        name, _, value = entry.partition("=")
        check_choice("latency", name, ("batch_size", "threads", "engine"))
        given.setdefault(name, []).append(value)
    if any(len(given.get(name, [])) > 1 for name in ("threads", "engine")):
        raise InputError(
            "`latency` must have one threads and one engine. "
            f"Received: --latency={','.join(_LATENCY.value)}."
        )
    return Latency(
        batch_sizes=tuple(map(_whole, given.get("batch_size", ["1"]))),
        threads=_whole(given["threads"][0]) if "threads" in given else None,
        engine=given.get("engine", ["tensorflow"])[0],
    )


def _whole(text):
    try:
        return int(text)
    except ValueError:
        raise InputError(
            f"`latency` must have whole numbers of images and threads. Received: {text!r}."
        ) from None


def _runs_in_litert(*arguments, **named):
    check_extra("tflite")
    # Beside this package, in a clone as where it is installed.
    savedmodels = __package__.removesuffix("trainers") + "savedmodels"
    timing = importlib.import_module(f"{savedmodels}.tflite.timing")
    return timing.runs_in_litert(*arguments, **named)


if __name__ == "__main__":
    program.run(main, needs=("data", "report"))
