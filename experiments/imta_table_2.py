"""What each technique of Li et al. 2019 adds (IMTA, Table 2).

    python -m experiments.imta_table_2 --runs_dir runs/imta_table_2
    python -m experiments.imta_table_2 --runs_dir runs/imta_table_2 --scale small \
        --dataset fashion_mnist --train_size 20000

The paper, MSDNet with 7 exits on CIFAR-100, test accuracy in percent: plain from 60.09 at exit 1 to
71.81 at exit 7; with all three techniques from 60.78 to 73.45.

Rows are phase I alone, plain and with Gradient Equilibrium (GE), and what a phase II makes of them:
none of its techniques (the control, which is trained for as long), Inline Subnetwork Collaboration
(ISC), One-for-all distillation (OFA), and all together. Phase I is trained once for all rows that
have the same. Each exit's accuracy, and early exit's at three budgets that the calibration images
chose.
"""

import numpy as np
from absl import flags

from tf_adaptive.errors import check_choice
from tf_adaptive.exits.operating_point import choose_operating_point
from tf_adaptive.programs import program
from tf_adaptive.runs.tables import read_exit_report, read_report

from . import flags as shared
from .cells import trained
from .tables import tell

_SCALE = flags.DEFINE_string(
    "scale", "paper", "paper: its network and epochs; small: 5 exits, 4 epochs and 30 of phase II"
)
_PRESET = flags.DEFINE_string("preset", None, "another preset of MSDNet")
_EPOCHS = flags.DEFINE_integer("epochs", None, "epochs of phase I; the scale's if unset")
_PHASE_2_EPOCHS = flags.DEFINE_integer(
    "phase_2_epochs", None, "epochs of phase II; the scale's if unset"
)
_ROWS_WANTED = flags.DEFINE_list("rows", None, "those to train, as plain,control; all if unset")

# Flags of phase I, then of phase II.
_SCALES = {
    "paper": ({"preset": "msdnet_cifar_lingrow7"}, {}),
    "small": (
        {"preset": "msdnet_cifar_lingrow5", "schedule": "cosine", "epochs": 4},
        {"epochs": 30, "augmented_passes": 1},
    ),
}

_ISC, _OFA = {"distillation": False}, {"collaboration": False}

# Whether phase I has Gradient Equilibrium, and the flags of phase II, if there is one.
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

# Of the whole network's multiply-accumulates.
_BUDGETS = (0.25, 0.5, 0.75)


def main():
    check_choice("scale", _SCALE.value, _SCALES)
    for row in _ROWS_WANTED.value or ():
        check_choice("rows", row, _ROWS)
    seeds = shared.seeds()
    values = {}
    wanted = {row: _ROWS[row] for row in _ROWS_WANTED.value or _ROWS}
    for row, (balanced, phase_2) in wanted.items():
        runs = [_phase_1(seed, balanced) for seed in seeds]
        if phase_2 is not None:
            runs = [
                _phase_2(row, seed, run, phase_2) for seed, run in zip(seeds, runs, strict=True)
            ]
        values[row] = np.array([_accuracies(run) for run in runs])
    num_exits = values[row].shape[1] - len(_BUDGETS)
    columns = [
        *(f"exit {number}" for number in range(1, num_exits + 1)),
        *(f"{100 * share:.0f} % of the MACs" for share in _BUDGETS),
    ]
    print("\nTest accuracy in percent, mean and standard deviation over the seeds:")
    tell(values, columns, shared.runs_dir() / "table_2.csv")


def _phase_1(seed, balanced):
    flags, _ = _SCALES[_SCALE.value]
    flags = {
        **{"model": "msdnet", "dataset": shared.DATASET.value, "seed": seed},
        **{"image_size": shared.IMAGE_SIZE.value, "train_size": shared.TRAIN_SIZE.value},
        **flags,
        **_given(preset=_PRESET.value, epochs=_EPOCHS.value),
        "gradient_equilibrium": balanced,
    }
    name = f"{'GE' if balanced else 'plain'} seed {seed}"
    return _run(name, "trainers.train_multi_exit", flags, "run_dir")


def _phase_2(row, seed, phase_1, more):
    _, flags = _SCALES[_SCALE.value]
    flags = {
        **{"run_dir": phase_1, "seed": seed},
        **flags,
        **_given(epochs=_PHASE_2_EPOCHS.value),
        **more,
    }
    return _run(f"{row} seed {seed}", "trainers.train_collaboration", flags, "output_dir")


def _given(**flags):
    return {name: value for name, value in flags.items() if value is not None}


def _run(name, program, flags, output):
    return trained(
        shared.runs_dir(), name, program, flags, data_dir=shared.DATA_DIR.value, output=output
    )


def _accuracies(run_dir):
    """Of each exit, and at each budget, on the test images."""
    rows = read_exit_report(run_dir, len(read_report(run_dir, "anytime")))
    whole = rows.anytime[-1].macs / 1e6
    points = [choose_operating_point(rows, budget_mmacs=share * whole) for share in _BUDGETS]
    return [
        *(row.accuracy_percent for row in rows.anytime),
        *(point.accuracy_percent for point in points),
    ]


if __name__ == "__main__":
    program.run(main, needs=("data", "report", "programs"))
