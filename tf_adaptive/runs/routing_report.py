"""The report that a DRNet's training and evaluation end with."""

import pathlib

import numpy as np

from tf_adaptive.programs.progress_bar import with_bar
from tf_adaptive.reports.logits import accuracy_interval
from tf_adaptive.routing.costs import branch_costs
from tf_adaptive.routing.evaluation import collect_routed
from tf_adaptive.routing.report import write_resolution_report
from tf_adaptive.routing.timing import routing_seconds

_TIMED_BATCH_SIZE = 64
_TIMED_BATCHES = 4
_TIMED_PASSES = 5


def report_resolutions(run_dir, model, dataset, *, batch_size):
    """Evaluates a DRNet, writes its `report/`, and prints the resolutions and the choice.

    Args:
        run_dir: directory of its run.
        model: `tf_adaptive.DRNet`.
        dataset: the run's `ImageDataset`.
        batch_size: images in a batch.
    """
    size = dataset.sizes["test"]
    batches = dataset.batches("test", batch_size)
    logits, choices, labels = collect_routed(
        model, with_bar(batches, size, batch_size, "test images")
    )
    costs = branch_costs(model)
    fixed_milliseconds, routed_milliseconds = _milliseconds(model, dataset)
    directory = pathlib.Path(run_dir) / "report"
    resolution_rows, choice_rows = write_resolution_report(
        directory,
        logits,
        choices,
        labels,
        costs.resolutions,
        costs.branch_macs,
        costs.predictor_macs,
        pictures=lambda indices: dataset.pictures("test", indices),
        class_names=dataset.class_names,
        object_scales=dataset.object_scales("test"),
        fixed_milliseconds=fixed_milliseconds,
        routed_milliseconds=routed_milliseconds,
    )
    print(
        f"\n{'resolution':>10} {'M MACs':>9} {'test accuracy':>14} {'chosen for':>11}"
        f"   95 % interval of the accuracy, {size:,} images"
    )
    for row in resolution_rows:
        low, high = accuracy_interval(row.accuracy_percent, size)
        print(
            f"{row.resolution:>10} {row.macs / 1e6:>9.2f} {row.accuracy_percent:>12.2f} % "
            f"{100 * row.share:>9.1f} % {low:>8.2f} to {high:.2f}"
        )
    router, random = choice_rows
    for row, name in ((router, "chosen"), (random, "at random")):
        print(f"{name:>10} {row.mean_macs / 1e6:>9.2f} {row.accuracy_percent:>12.2f} %")
    print(
        f"\nThe choice, its predictor's {costs.predictor_macs / 1e6:.2f} M MACs included, is "
        f"{router.accuracy_percent - random.accuracy_percent:+.2f} points from choosing at random "
        f"at the same cost, {router.above_line_points:+.2f} from the line between the fixed "
        f"resolutions.\nTables and figures: {directory}"
    )


def _milliseconds(model, dataset):
    """Median milliseconds per test image, at each resolution and routed."""
    batches = [
        images for images, _ in dataset.batches("test", _TIMED_BATCH_SIZE).take(_TIMED_BATCHES)
    ]
    medians = np.median(routing_seconds(model, batches, repeats=_TIMED_PASSES), axis=0)
    *fixed, routed = (1000 * medians / sum(len(images) for images in batches)).tolist()
    return fixed, routed
