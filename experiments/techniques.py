"""What each training technique adds at equal epochs, those of IMTA and newer ones.

    python -m experiments.techniques --runs_dir runs/techniques
    python -m experiments.techniques --runs_dir runs/techniques --scale small \
        --dataset fashion_mnist --image_size 16 --train_size 6000

Every row is trained for as many epochs. Phase I alone: plain, with Gradient Equilibrium (GE), with
boosted exits (Yu et al. 2023, published with GE), taught by the last exit (Phuong & Lampert 2019)
or by a running average of the network (Tarvainen & Valpola 2017), with the samples weighed by the
exit they would leave at (after Han et al. 2022), with the last exit first, and combinations. Two
phases, the second a third of the epochs: a control with none of its techniques, Inline Subnetwork
Collaboration (ISC), One-for-all distillation (OFA), and both. Each exit's accuracy, and early
exit's at three budgets that the calibration images chose; which technique is better is to be read
where the difference from plain is above both spreads.

Measured at the small scale, two minutes a run on one core, in docs/measured.md: none is.
"""

from absl import flags

from tf_adaptive.errors import check_choice, check_whole
from tf_adaptive.programs import program

from . import flags as shared
from .phase_2 import with_published_teacher
from .tables import tell_exits_and_budgets

_SCALE = flags.DEFINE_string("scale", "paper", "paper: 7 exits; small: 4 exits, 12 epochs")
_PRESET = flags.DEFINE_string("preset", None, "another preset of MSDNet")
_EPOCHS = flags.DEFINE_integer("epochs", None, "epochs of every row; the scale's if unset")
_ROWS_WANTED = flags.DEFINE_list("rows", None, "those to train, as plain,GE; all if unset")

_SCALES = {
    "paper": {"preset": "msdnet_cifar_lingrow7", "epochs": 300},
    "small": {"preset": "msdnet_cifar_narrow4", "schedule": "cosine", "epochs": 12},
}

_GE = {"gradient_equilibrium": True}
_BOOSTED = {"boosting_weight": 0.5}
_TAUGHT = {"alpha": 0.5}
_AVERAGE = {"alpha": 0.5, "teacher_momentum": 0.999}
_LEAVING = {"leaving_share": 0.5}
_ISC, _OFA = {"distillation": False}, {"collaboration": False}

# The flags of phase I; None for a third of the epochs.
_ONE_PHASE = {
    "plain": {},
    "GE": _GE,
    "boosted": _BOOSTED,
    "boosted and GE": _BOOSTED | _GE,
    "last exit teaches": _TAUGHT,
    "average teaches": _AVERAGE,
    "leaving": _LEAVING,
    "last exit first": {"last_exit_epochs": None},
    "boosted and last exit teaches": _BOOSTED | _TAUGHT,
    "boosted and last exit teaches and leaving": _BOOSTED | _TAUGHT | _LEAVING,
}
# The flags of phase II, after a plain phase I.
_TWO_PHASES = {"control": _ISC | _OFA, "ISC": _ISC, "OFA": _OFA, "ISC and OFA": {}}


def main():
    check_choice("scale", _SCALE.value, _SCALES)
    if _EPOCHS.value is not None:
        check_whole("epochs", _EPOCHS.value, least=3)
    for row in _ROWS_WANTED.value or ():
        check_choice("rows", row, _ONE_PHASE | _TWO_PHASES)
    wanted = _ROWS_WANTED.value or [*_ONE_PHASE, *_TWO_PHASES]
    runs = {row: [_trained(row, seed) for seed in shared.seeds()] for row in wanted}
    tell_exits_and_budgets(runs, shared.runs_dir() / "techniques.csv")


def _trained(row, seed):
    """The directory of a finished run."""
    flags = {
        **{"model": "msdnet", **shared.of_data(), "seed": seed},
        **_SCALES[_SCALE.value],
        **({} if _PRESET.value is None else {"preset": _PRESET.value}),
        **({} if _EPOCHS.value is None else {"epochs": _EPOCHS.value}),
    }
    third = flags["epochs"] // 3
    if row in _ONE_PHASE:
        flags |= {
            name: third if value is None else value for name, value in _ONE_PHASE[row].items()
        }
        return shared.trained_cell(f"{row} seed {seed}", "trainers.train_multi_exit", flags)
    flags["epochs"] -= third
    phase_2 = with_published_teacher(_TWO_PHASES[row], flags["preset"])
    phase_1 = shared.trained_cell(f"phase 1 seed {seed}", "trainers.train_multi_exit", flags)
    flags = {"run_dir": phase_1, "seed": seed, "epochs": third, **phase_2}
    return shared.trained_cell(
        f"{row} seed {seed}", "trainers.train_collaboration", flags, output="output_dir"
    )


if __name__ == "__main__":
    program.run(main, needs=("data", "report", "programs"))
