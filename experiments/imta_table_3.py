"""Where the path of Inline Subnetwork Collaboration comes from (IMTA, Li et al. 2019, Table 3).

    python -m experiments.imta_table_3 --runs_dir runs/imta
    python -m experiments.imta_table_3 --runs_dir runs/imta --scale small \
        --dataset fashion_mnist --train_size 20000

Rows, all without distillation and on one phase I: nothing of the exit before (the control), its
prediction (as published), the features that it reads, and its prediction as it is, without a
linear layer, batch norm and ReLU. The first three are those of experiments.imta_table_2, which
trains none of them again in the same folder.
"""

from tf_adaptive.programs import program

from . import flags as shared
from . import imta
from .tables import tell_exits_and_budgets

_ROWS = {
    "plain": (False, None),
    "control": (False, {"distillation": False, "collaboration": False}),
    "ISC": (False, {"distillation": False}),
    "features": (False, {"distillation": False, "collaboration_path": "features"}),
    "identity": (False, {"distillation": False, "collaboration_path": "identity"}),
}


def main():
    tell_exits_and_budgets(imta.trained_rows(_ROWS), shared.runs_dir() / "table_3.csv")


if __name__ == "__main__":
    program.run(main, needs=("data", "report", "programs"))
