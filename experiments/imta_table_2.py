"""What each technique of Li et al. 2019 adds (IMTA, Table 2).

    python -m experiments.imta_table_2 --runs_dir runs/imta
    python -m experiments.imta_table_2 --runs_dir runs/imta --scale small \
        --dataset fashion_mnist --train_size 20000

The paper, MSDNet with 7 exits on CIFAR-100, test accuracy in percent: plain from 60.09 at exit 1 to
71.81 at exit 7; with all three techniques from 60.78 to 73.45.

Rows are phase I alone, plain and with Gradient Equilibrium (GE), and what a phase II makes of them:
none of its techniques (the control, which is trained for as long), Inline Subnetwork Collaboration
(ISC), One-for-all distillation (OFA), and all together. Each exit's accuracy, and early exit's at
three budgets that the calibration images chose.
"""

from tf_adaptive.programs import program

from . import flags as shared
from . import imta
from .tables import tell_exits_and_budgets

_ISC, _OFA = {"distillation": False}, {"collaboration": False}

_ROWS = {
    "plain": (False, None),
    "GE": (True, None),
    "control": (False, _ISC | _OFA),
    "ISC": (False, _ISC),
    "OFA": (False, _OFA),
    "ISC and OFA": (False, {}),
    "GE and control": (True, _ISC | _OFA),
    "GE and ISC and OFA": (True, {}),
}


def main():
    tell_exits_and_budgets(imta.trained_rows(_ROWS), shared.runs_dir() / "table_2.csv")


if __name__ == "__main__":
    program.run(main, needs=("data", "report", "programs"))
