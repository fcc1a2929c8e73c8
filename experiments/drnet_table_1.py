"""A resolution for each image against other ways to cost less (DRNet, Zhu et al. 2021, Table 1).

    python -m experiments.drnet_table_1 --runs_dir runs/drnet --dataset imagenet2012
    python -m experiments.drnet_table_1 --runs_dir runs/drnet --scale small \
        --dataset fashion_mnist_scaled --train_size 20000

The paper, ResNet-50 on ImageNet: 76.2 % top-1 at a mean of 2.7 GFLOPs with a target of 2.5.

Rows: the classifier alone, at its own resolution, at 6/7 of it (192 of 224), and at 3/4 of its
width; the DRNet; and the DRNet without batch norms of each resolution's own.
"""

import numpy as np
from absl import flags

from tf_adaptive.errors import check_choice
from tf_adaptive.programs import program
from tf_adaptive.runs.tables import read_report

from . import flags as shared
from .drnet import SCALES, router_row, trained_classifier, trained_drnet
from .tables import tell

_SCALE = flags.DEFINE_string("scale", "paper", "paper: ResNet-50; small: a ResNet of six layers")


def main():
    check_choice("scale", _SCALE.value, SCALES)
    scale, seeds = _SCALE.value, shared.seeds()
    resolution, targets = SCALES[scale]["resolution"], SCALES[scale]["targets"]
    smaller = round(resolution * 6 / 7)
    rows = {
        f"{resolution} pixels": [trained_classifier("whole", scale, seed) for seed in seeds],
        f"{smaller} pixels": [
            trained_classifier("smaller", scale, seed, image_size=smaller) for seed in seeds
        ],
        "3/4 of the width": [
            trained_classifier("narrower", scale, seed, width=0.75) for seed in seeds
        ],
    }
    values = {row: np.array([_alone(run) for run in runs]) for row, runs in rows.items()}
    for row, is_shared in (("DRNet", False), ("DRNet, shared batch norm", True)):
        runs = [
            trained_drnet(row, scale, seed, target_gflops=targets[1], shared_batch_norm=is_shared)
            for seed in seeds
        ]
        values[row] = np.array([_chosen(run) for run in runs])
    print("\nTest images, mean and standard deviation over the seeds:")
    tell(values, ["M MACs", "top-1 accuracy (%)"], shared.runs_dir() / "table_1.csv")


def _alone(run_dir):
    (row,) = read_report(run_dir, "anytime")
    return float(row["macs"]) / 1e6, float(row["accuracy_percent"])


def _chosen(run_dir):
    router = router_row(run_dir)
    return float(router["mean_macs"]) / 1e6, float(router["accuracy_percent"])


if __name__ == "__main__":
    program.run(main, needs=("data", "report", "programs"))
