"""Targets and weights of the FLOPs loss (DRNet, Zhu et al. 2021, Table 2 and Figure 3).

    python -m experiments.drnet_table_2 --runs_dir runs/drnet --dataset imagenet2012
    python -m experiments.drnet_table_2 --runs_dir runs/drnet --scale small \
        --dataset fashion_mnist_scaled --train_size 20000

The paper, ResNet-50 on ImageNet: targets α of 2.0, 2.5, 3.0 and 3.5 GFLOPs gave 2.3, 2.7, 3.2 and
3.7 with the predictor, and 75.3, 76.2, 77.0 and 77.4 % top-1.

Every DRNet of a seed starts from the same stage 1. The table has its accuracy, mean cost and the
shares of the resolutions; the figure, accuracy against measured time beside the fixed resolutions.
"""

import numpy as np
from absl import flags
from matplotlib.figure import Figure

from tf_adaptive.errors import check_above_0, check_at_least_0, check_choice
from tf_adaptive.files import replaced_whole
from tf_adaptive.programs import program
from tf_adaptive.reports.figures import BLUE, VERMILION, finish_accuracy_axes
from tf_adaptive.runs.tables import read_report

from . import flags as shared
from .drnet import SCALES, router_row, trained_drnet
from .tables import tell

_SCALE = flags.DEFINE_string("scale", "paper", "paper: ResNet-50; small: a ResNet of six layers")
_TARGETS = flags.DEFINE_list("targets", None, "α, in GFLOPs; the scale's if unset")
_WEIGHTS = flags.DEFINE_list("weights", ["0.1", "0.2", "0.4"], "η")
_DENSE = flags.DEFINE_bool("dense", False, "see trainers.train_drnet")


def main():
    check_choice("scale", _SCALE.value, SCALES)
    targets = program.numbers(_TARGETS) or SCALES[_SCALE.value]["targets"]
    weights, seeds = program.numbers(_WEIGHTS), shared.seeds()
    for target in targets:
        check_above_0("targets", target)
    for weight in weights:
        check_at_least_0("weights", weight)
    first, runs = {}, {}
    for target in targets:
        for weight in weights:
            for seed in seeds:
                run = trained_drnet(
                    f"target {target:g} weight {weight:g}",
                    _SCALE.value,
                    seed,
                    stage_1_from=first.get(seed),
                    target_gflops=target,
                    flops_weight=weight,
                    dense=_DENSE.value,
                )
                first.setdefault(seed, run)
                runs.setdefault((target, weight), []).append(run)
    resolutions = [row["resolution"] for row in read_report(run, "resolutions")]
    print("\nTest images, mean and standard deviation over the seeds:")
    tell(
        {
            f"α = {target:g}, η = {weight:g}": np.array([_reached(run) for run in of_cell])
            for (target, weight), of_cell in runs.items()
        },
        [
            *("M MACs", "top-1 accuracy (%)"),
            *(f"images at {resolution} (%)" for resolution in resolutions),
        ],
        shared.runs_dir() / "table_2.csv",
    )
    with replaced_whole(shared.runs_dir() / "figure_3.png") as temporary:
        _figure([run for of_cell in runs.values() for run in of_cell]).savefig(
            temporary, dpi=200, format="png"
        )


def _reached(run_dir):
    router = router_row(run_dir)
    shares = [100 * float(text) for name, text in router.items() if name.startswith("share_")]
    return float(router["mean_macs"]) / 1e6, float(router["accuracy_percent"]), *shares


def _figure(runs):
    """Accuracy against milliseconds, of the fixed resolutions and of every run's choice."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for number, run in enumerate(runs):
        fixed = sorted(map(_point, read_report(run, "resolutions")))
        label = None if number else "one resolution for all images"
        axes.plot(*zip(*fixed, strict=True), "--o", color=VERMILION, alpha=0.4, label=label)
    for number, run in enumerate(runs):
        label = None if number else "chosen for each image"
        axes.plot(*_point(router_row(run)), "D", color=BLUE, label=label)
    finish_accuracy_axes(figure, axes, "measured time per image (milliseconds)")
    return figure


def _point(row):
    return float(row["milliseconds_per_image"]), float(row["accuracy_percent"])


if __name__ == "__main__":
    program.run(main, needs=("data", "report", "programs"))
