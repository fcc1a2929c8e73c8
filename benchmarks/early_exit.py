"""How much time early exit saves, beside how many multiply-accumulates it saves.

    python -m benchmarks.early_exit --run_dir runs/demo

Runs the whole network and `EarlyExit` of a finished run in turn on the same test images, and
prints the median ratio of their times beside the ratio of their mean MACs: at budgets of the
run's report, and with thresholds at which half of each stage's images leave. With --regroup_to
also that of the survivors of many batches put together between stages.
"""

import time

import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.half_leave import half_leave
from benchmarks.whole_batches import whole_batches
from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.exits.costs import profile
from tf_adaptive.exits.early_exit import EarlyExit
from tf_adaptive.exits.operating_point import OperatingPoint
from tf_adaptive.exits.regrouping import Regrouping
from tf_adaptive.graph.constant_weights import ConstantWeights
from tf_adaptive.processor import told_processor
from tf_adaptive.programs import program
from tf_adaptive.reports.logits import collect_logits
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import load_finished_run
from tf_adaptive.runs.tables import read_exit_report

_RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of a finished run", required=True)
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1", "32", "256"], "images in a batch")
_BUDGETS = flags.DEFINE_list("budgets", ["0.3", "0.6", "1.0"], "p of the report's budgets")
_FOLDED = flags.DEFINE_bool(
    "folded", False, "fold the batch norms into the convolutions first, as in deployed networks"
)
_DTYPE = flags.DEFINE_string("dtype", "float32", "of the folded network: float32 or bfloat16")
_REGROUP_TO = flags.DEFINE_integer(
    "regroup_to", None, "images to put together between stages, see EarlyExit.predict"
)
_REPEATS = flags.DEFINE_integer("repeats", 15, "timed pairs of passes")
_IMAGES = flags.DEFINE_integer("images", 1024, "test images in a pass; 64 at batch 1")


def main():
    check_whole("repeats", _REPEATS.value, least=1)
    if _REGROUP_TO.value is not None:
        check_whole("regroup_to", _REGROUP_TO.value, least=1)
    check_choice("dtype", _DTYPE.value, ("float32", "bfloat16"))
    if _DTYPE.value != "float32" and not _FOLDED.value:
        raise InputError("`dtype` must be given with `folded`. Received: dtype alone.")
    config, model = load_finished_run(_RUN_DIR.value)
    dataset = load_run_dataset(config)
    costs = profile(model)
    rows = read_exit_report(_RUN_DIR.value, len(costs))
    budgets = _budgets(rows)
    if _FOLDED.value:
        model = fold_batch_norm(model, dtype=_DTYPE.value)
    network = ConstantWeights(model)
    whole = tf.function(
        lambda images: network(images, training=False),
        input_signature=[tf.TensorSpec((None, *dataset.image_shape))],
    )
    print(told_processor())
    print(
        f"{'batch':>5} {'policy':<12} {'shares per exit':<30} {'MACs ratio':>10} "
        f"{'lazy MACs':>10} {'time ratio':>10} {'whole ms/image':>15}"
        f"{'' if _REGROUP_TO.value is None else '  regrouped'}"
    )
    for batch_size in program.numbers(_BATCH_SIZES, int):
        batches = whole_batches(dataset, batch_size, images=_IMAGES.value)
        logits, _ = collect_logits(model, batches)
        batches = [images for images, _ in batches]
        for policy, point in {**budgets, "half leave": half_leave(logits, rows.measure)}.items():
            early = EarlyExit(model, point, constant_weights=True)
            exits = np.concatenate([early(images)["exit"] for images in batches])
            shares = np.bincount(exits - 1, minlength=len(costs)) / len(exits)
            ratio, regrouped, whole_seconds = _time_ratios(early, whole, batches)
            print(
                f"{batch_size:>5} {policy:<12} {' '.join(f'{s:5.2f}' for s in shares):<30} "
                f"{_mean_ratio(shares, [cost.macs for cost in costs]):>10.3f} "
                f"{_mean_ratio(shares, [cost.lazy_macs for cost in costs]):>10.3f} "
                f"{ratio:>10.3f} {1000 * whole_seconds / len(exits):>15.3f}"
                f"{'' if _REGROUP_TO.value is None else f' {regrouped:>10.3f}'}",
                flush=True,
            )


def _budgets(rows):
    """Operating points of the report by the name of their budget."""
    thresholds = {str(row.p): np.array(row.thresholds) for row in rows.budgets}
    unknown = [p for p in _BUDGETS.value if p not in thresholds]
    if unknown:
        raise InputError(
            f"`budgets` must be among {', '.join(thresholds)}. Received: {unknown[0]!r}."
        )
    return {
        f"p = {p}": OperatingPoint(thresholds[p], rows.measure, f"p = {p}", rows.temperatures)
        for p in _BUDGETS.value
    }


def _mean_ratio(shares, macs):
    return float(shares @ np.array(macs)) / macs[-1]


def _time_ratios(early, whole, batches):
    """Median ratios of the times of one pass by that of the whole network, and its median seconds.

    The ratios are early exit's, batch by batch, and with survivors put together.
    """
    regrouping = None if _REGROUP_TO.value is None else Regrouping(early, _REGROUP_TO.value)
    times = []
    for _ in range(_REPEATS.value + 1):
        seconds = [_seconds(early, batches), np.nan, _seconds(whole, batches)]
        if regrouping is not None:
            start = time.perf_counter()
            regrouping.predict([images] for images in batches)
            seconds[1] = time.perf_counter() - start
        times.append(seconds)
    # The first ones warm up.
    times = np.array(times[1:])
    return (*np.median(times[:, :2] / times[:, 2:], axis=0), np.median(times[:, 2]))


def _seconds(function, batches):
    start = time.perf_counter()
    for images in batches:
        tf.nest.map_structure(lambda tensor: tensor.numpy(), function(images))
    return time.perf_counter() - start


if __name__ == "__main__":
    program.run(main)
