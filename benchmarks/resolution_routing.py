"""How much time picking resolutions saves, beside how many multiply-accumulates it saves.

    python -m benchmarks.resolution_routing --run_dir runs/scaled

Runs a finished DRNet on test images at each fixed resolution and with its own choice, in turn, and
prints medians of each time divided by that of the largest resolution in the same turn, beside the
ratio of their mean MACs, the predictor's included in the choice's.
"""

import numpy as np
from absl import flags

from benchmarks.whole_batches import whole_batches
from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.models.drnet import is_routed
from tf_adaptive.processor import told_processor
from tf_adaptive.programs import program
from tf_adaptive.routing.costs import branch_costs
from tf_adaptive.routing.timing import routing_seconds
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import load_finished_run

_RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of a DRNet's run", required=True)
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1", "64", "256"], "images in a batch")
_REPEATS = flags.DEFINE_integer("repeats", 15, "timed passes of each")
_IMAGES = flags.DEFINE_integer("images", 1024, "test images in a pass; 64 at batch 1")


def main():
    check_whole("repeats", _REPEATS.value, least=1)
    check_whole("images", _IMAGES.value, least=1)
    config, model = load_finished_run(_RUN_DIR.value)
    if not is_routed(model):
        raise InputError(
            f"`run_dir` must be the run of a DRNet. Received: {_RUN_DIR.value}, whose network has "
            "exits; benchmarks.early_exit times those."
        )
    dataset = load_run_dataset(config)
    costs = branch_costs(model)
    print(told_processor())
    print(
        f"{'batch':>5} {'resolution':<10} {'share':>6} {'MACs ratio':>10} {'time ratio':>10} "
        f"{'time / MACs':>11} {'ms/image':>9}"
    )
    for batch_size in program.numbers(_BATCH_SIZES, int):
        batches = whole_batches(dataset, batch_size, images=_IMAGES.value)
        batches = [images for images, _ in batches]
        count = sum(len(images) for images in batches)
        choices = np.concatenate([model.choose(images) for images in batches])
        shares = np.bincount(choices, minlength=len(costs.resolutions)) / count
        seconds = routing_seconds(model, batches, repeats=_REPEATS.value)
        time_ratios = np.median(seconds / seconds[:, :1], axis=0)
        gflops = np.array([*costs.branch_gflops, costs.mean_gflops(shares)])
        rows = zip(
            [*costs.resolutions, "chosen"],
            [*shares, 1.0],
            gflops / gflops[0],
            time_ratios,
            1000 * np.median(seconds, axis=0) / count,
            strict=True,
        )
        for name, share, macs_ratio, time_ratio, milliseconds in rows:
            print(
                f"{batch_size:>5} {name:<10} {share:>6.3f} {macs_ratio:>10.3f} {time_ratio:>10.3f} "
                f"{time_ratio / macs_ratio:>11.3f} {milliseconds:>9.3f}",
                flush=True,
            )


if __name__ == "__main__":
    program.run(main)
