"""When Gradient Equilibrium helps (Li et al. 2019, section 3.1; Figures 4 and 6, by epoch).

    python -m experiments.gradient_equilibrium --runs_dir runs/gradient_equilibrium \
        --dataset fashion_mnist --image_size 16 --train_size 6000 --scale small

By equation 5 every exit's gradient on stage i has one factor, 1/(K − i + 1): Gradient Equilibrium
is gradient descent with a rate of its own for each stage, and weight decay that is not scaled with
it. Rows, each with every seed:

- plain and GE, at each number of --epochs;
- multipliers: the plain network, its stages' gradients × 1/(K − i + 1), which should be GE;
- undone: GE, its stages' gradients × (K − i + 1), which should be plain;
- released: GE in the published code's form;
- plain and GE at 2 and 4 times the rate, and at five times the weight decay.

Measured at the small scale, 7 s an epoch on one core, in docs/measured.md: behind plain training
at its rate, level at twice the rate; equal to the multipliers, and undone to plain training.

It prints each exit's test accuracy and how far a step moves the stages' kernels (‖Δw‖/‖w‖), and
draws both by epoch.
"""

import dataclasses

import keras
import numpy as np
from absl import flags
from matplotlib.figure import Figure

from tf_adaptive.data import load_dataset
from tf_adaptive.errors import check_choice, check_whole
from tf_adaptive.files import replaced_whole
from tf_adaptive.models.msdnet import MSDNet
from tf_adaptive.programs import program
from tf_adaptive.reports.figures import BLUE, LABEL_SIZE, VERMILION, bare, legend_above
from tf_adaptive.runs.directory import finish_run, load_finished_run
from tf_adaptive.runs.evaluate import evaluate, has_report
from tf_adaptive.runs.tables import read_csv, read_report
from tf_adaptive.training.descent import Descent
from tf_adaptive.training.loop import train
from tf_adaptive.training.progress import TerminalProgress

from . import flags as shared
from .cells import cell_directory
from .stage_rates import WHAT, step_of
from .tables import print_table, tell

_SCALE = flags.DEFINE_string("scale", "paper", "paper: MSDNet with 7 exits; small: one with 4")
_EPOCHS = flags.DEFINE_list(
    "epochs", None, "numbers of epochs; 75,150,300 at the paper's scale, 4,16,48 at the small one"
)
_ROWS = flags.DEFINE_list("rows", None, "those to train, as plain,GE; all if unset")

_NETWORKS = {
    "paper": MSDNet.presets["msdnet_cifar_lingrow7"],
    "small": MSDNet.presets["msdnet_cifar_narrow4"],
}
_SCALE_EPOCHS = {"paper": [75, 150, 300], "small": [4, 16, 48]}
_CURVES = {"plain": BLUE, "GE": VERMILION}
_BATCH_SIZE = 64
_RATE, _WEIGHT_DECAY = 0.1, 1e-4


@dataclasses.dataclass(frozen=True)
class _Row:
    """What is trained with every seed."""

    what: str
    epochs: int
    rate: float = _RATE
    weight_decay: float = _WEIGHT_DECAY


def main():
    check_choice("scale", _SCALE.value, _NETWORKS)
    epochs = program.numbers(_EPOCHS, int) or _SCALE_EPOCHS[_SCALE.value]
    for number in epochs:
        check_whole("epochs", number, least=1)
    for what in _ROWS.value or ():
        check_choice("rows", what, WHAT)
    seeds = shared.seeds()
    dataset = load_dataset(
        shared.DATASET.value,
        data_dir=shared.DATA_DIR.value,
        image_size=shared.IMAGE_SIZE.value,
        train_size=shared.TRAIN_SIZE.value,
    )
    rows = _rows(sorted(set(epochs)))
    wanted = [row for row in rows if _ROWS.value is None or row.what in _ROWS.value]
    runs = {row: [_trained(row, seed, dataset) for seed in seeds] for row in wanted}
    _print_accuracies(runs)
    _print_updates(runs)
    drawn = {what: runs[row] for what in _CURVES if (row := _Row(what, max(epochs))) in runs}
    if drawn:
        _draw(drawn)


def _rows(epochs):
    middle = epochs[len(epochs) // 2]
    pairs = [_Row(what, number) for number in epochs for what in ("plain", "GE")]
    others = [_Row(what, middle) for what in ("multipliers", "undone", "released")]
    rates = [_Row(what, middle, rate=times * _RATE) for times in (2, 4) for what in ("plain", "GE")]
    decays = [_Row(what, middle, weight_decay=5 * _WEIGHT_DECAY) for what in ("plain", "GE")]
    return [*pairs, *others, *rates, *decays]


def _trained(row, seed, dataset):
    """The directory of a finished run."""
    settings = {
        **dataclasses.asdict(row),
        **{"seed": seed, "scale": _SCALE.value, "batch_size": _BATCH_SIZE},
        **dataset.settings,
    }
    settings.pop("data_dir")
    name = f"{row.what} {row.epochs} epochs seed {seed}"
    run_dir = cell_directory(shared.runs_dir(), name, settings)
    if has_report(run_dir):
        return run_dir
    if not (run_dir / "model.keras").exists():
        print(f"\n{name}, rate {row.rate:g}, weight decay {row.weight_decay:g}: {run_dir}")
        keras.utils.set_random_seed(seed)
        network = MSDNet(
            **{
                **_NETWORKS[_SCALE.value],
                "input_shape": dataset.image_shape,
                "num_classes": dataset.num_classes,
            }
        )
        train(
            step_of(
                row.what,
                network,
                Descent(
                    schedule="multi_step",
                    learning_rate=row.rate,
                    epochs=row.epochs,
                    steps_per_epoch=dataset.steps_per_epoch(_BATCH_SIZE),
                    weight_decay=row.weight_decay,
                ),
            ),
            dataset,
            epochs=row.epochs,
            batch_size=_BATCH_SIZE,
            seed=seed,
            run_dir=run_dir,
            config=settings | dataset.settings | dataset.description(),
            resume=(run_dir / "config.json").exists(),
            may_differ=("data_dir",),
            progress=TerminalProgress(),
        )
        finish_run(run_dir, network)
    _, network = load_finished_run(run_dir)
    evaluate(network, dataset).write(run_dir / "report")
    return run_dir


def _print_accuracies(runs):
    values = {}
    for row, run_dirs in runs.items():
        of_runs = np.array(
            [
                [float(exit["accuracy_percent"]) for exit in read_report(run_dir, "anytime")]
                for run_dir in run_dirs
            ]
        )
        values[_words(row)] = np.column_stack([of_runs, of_runs.mean(axis=1)])
    exits = [f"exit {number}" for number in range(1, of_runs.shape[1] + 1)]
    print("\nTest accuracy in percent, mean and standard deviation over the seeds:")
    tell(values, [*exits, "mean of exits"], shared.runs_dir() / "accuracies.csv")


def _words(row):
    return f"{row.what}, {row.epochs} epochs, rate {row.rate:g}, decay {row.weight_decay:g}"


def _print_updates(runs):
    table = []
    for row, run_dirs in runs.items():
        first, last = (
            np.mean([_updates(run_dir)[place] for run_dir in run_dirs], axis=0)
            for place in (0, row.epochs // 2 - 1)
        )
        pairs = [f"{1e3 * a:.2f}, {1e3 * b:.2f}" for a, b in zip(first, last, strict=True)]
        table.append([_words(row), *pairs])
    stages = [f"stage {number}" for number in range(1, len(pairs) + 1)]
    print("\n‖Δw‖/‖w‖ × 1000 of a step, in the first epoch and in the last before the rate falls:")
    print_table(["", *stages], table)


def _updates(run_dir):
    """Of each epoch and stage, `(epochs, stages)`."""
    return _columns(run_dir, "train_update_stage_")


def _columns(run_dir, prefix):
    rows = read_csv(run_dir / "history.csv")
    return np.array(
        [[float(text) for name, text in row.items() if name.startswith(prefix)] for row in rows]
    )


def _draw(runs):
    """Both by epoch, of the longest trainings."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    accuracy, updates = figure.subplots(1, 2)
    for what, run_dirs in runs.items():
        of_exits = np.mean([_columns(run, "validation_accuracy_exit_") for run in run_dirs], axis=0)
        of_stages = np.mean([_updates(run) for run in run_dirs], axis=0)
        for axes, curves, factor in ((accuracy, of_exits, 100), (updates, of_stages, 1)):
            for place, curve in enumerate(curves.T, start=1):
                last = place == curves.shape[1]
                axes.plot(
                    np.arange(1, len(curve) + 1),
                    factor * curve,
                    color=_CURVES[what],
                    linestyle=_line(place, last),
                    label=what if axes is accuracy and last else None,
                )
    for place in range(1, of_exits.shape[1] + 1):
        style = _line(place, place == of_exits.shape[1])
        accuracy.plot([], [], color="0.4", linestyle=style, label=f"exit or stage {place}")
    accuracy.set_ylabel("validation accuracy (%)", fontsize=LABEL_SIZE)
    updates.set_ylabel("‖Δw‖/‖w‖ of a step", fontsize=LABEL_SIZE)
    updates.set_yscale("log")
    for axes in (accuracy, updates):
        axes.set_xlabel("epoch", fontsize=LABEL_SIZE)
        bare(axes)
    legend_above(figure, columns=len(runs) + of_exits.shape[1])
    with replaced_whole(shared.runs_dir() / "by_epoch.png") as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def _line(place, last):
    """Solid for the last exit or stage, the others in longer dashes from the first on."""
    return "-" if last else (0, (2 * place - 1, 2))


if __name__ == "__main__":
    program.run(main, needs=("data", "report", "programs"))
