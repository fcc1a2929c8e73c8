"""What each technique of Li et al. 2019 adds, as in the paper's Table 2.

    python -m benchmarks.imta_ablation --runs_dir runs/imta_ablation --dataset fashion_mnist \
        --train_size 20000

Trains what is not there yet, several seeds of it, and prints every exit's test accuracy. Stopped
and started again it continues where it was. Phase I is shared by the rows that have the same one.
"""

import csv
import pathlib
import subprocess
import sys

import numpy as np
from absl import flags

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.files import replaced_whole
from tf_adaptive.programs import program
from tf_adaptive.runs.tables import read_report
from trainers.flags import network as network_flags

flags.adopt_module_key_flags(network_flags)
_RUNS_DIR = flags.DEFINE_string("runs_dir", None, "folder of all runs and the table", required=True)
_DATASET = flags.DEFINE_string("dataset", "digits", "as in trainers.train_multi_exit")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets")
_TRAIN_SIZE = flags.DEFINE_integer("train_size", None, "training images to use; all if unset")
_EPOCHS = flags.DEFINE_integer("epochs", 4, "epochs of phase I")
_HEAD_EPOCHS = flags.DEFINE_integer("head_epochs", 30, "epochs of phase II")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds, a run of every row for each")

# Row → whether phase I has Gradient Equilibrium, and the flags of phase II, if there is one.
_ROWS = {
    "none": (False, None),
    "GE": (True, None),
    "ISC": (False, ("--nodistillation",)),
    "OFA": (False, ("--nocollaboration",)),
    "GE, ISC and OFA": (True, ()),
}


def main():
    network_flags.fill_preset()
    seeds = program.numbers(_SEEDS, int)
    for seed in seeds:
        check_whole("seeds", seed, least=0)
    if len(set(seeds)) < max(2, len(seeds)):
        raise InputError(
            "`seeds` must be two or more different ones, for their spread. "
            f"Received: {','.join(_SEEDS.value)}."
        )
    accuracies = {row: [] for row in _ROWS}
    for seed in seeds:
        for row, (equilibrium, head_flags) in _ROWS.items():
            run_dir = _phase_one(seed, equilibrium)
            if head_flags is not None:
                run_dir = _phase_two(seed, row, run_dir, head_flags)
            report = read_report(run_dir, "anytime")
            accuracies[row].append([float(exit["accuracy_percent"]) for exit in report])
    _write_table({row: np.array(values) for row, values in accuracies.items()})


def _phase_one(seed, equilibrium):
    run_dir = _runs_dir() / f"{'equilibrium' if equilibrium else 'plain'}_seed_{seed}"
    arguments = {
        "model": network_flags.MODEL.value,
        "preset": network_flags.PRESET.value,
        "dataset": _DATASET.value,
        "data_dir": _DATA_DIR.value,
        "train_size": _TRAIN_SIZE.value,
        "epochs": _EPOCHS.value,
        "schedule": "cosine",
        "seed": seed,
        "run_dir": run_dir,
    }
    more = ("--gradient_equilibrium",) if equilibrium else ()
    _train("trainers.train_multi_exit", run_dir, arguments, more)
    return run_dir


def _phase_two(seed, row, phase_one, more):
    name = "".join(letter if letter.isalnum() else "_" for letter in row.lower())
    run_dir = _runs_dir() / f"{name}_seed_{seed}"
    arguments = {
        "run_dir": phase_one,
        "output_dir": run_dir,
        "data_dir": _DATA_DIR.value,
        "epochs": _HEAD_EPOCHS.value,
        "augmented_passes": 1,
        "seed": seed,
    }
    _train("trainers.train_collaboration", run_dir, arguments, more)
    return run_dir


def _train(name, run_dir, arguments, more):
    """Runs a training that is not finished yet, or its evaluation when only that is missing."""
    if (run_dir / "report" / "budgeted.csv").exists():
        return
    if (run_dir / "model.keras").exists():
        name, arguments, more = "trainers.evaluate", {"run_dir": run_dir}, ()
    elif (run_dir / "config.json").exists():
        more = (*more, "--resume")
    given = [f"--{flag}={value}" for flag, value in arguments.items() if value is not None]
    print(f"\n{name} {' '.join([*given, *more])}", flush=True)
    finished = subprocess.run([sys.executable, "-m", name, *given, *more], check=False)
    if finished.returncode:
        raise InputError(f"Every training must end well. Received: one that did not, {run_dir}.")


def _write_table(accuracies):
    num_exits = next(iter(accuracies.values())).shape[1]
    with (
        replaced_whole(_runs_dir() / "ablation.csv") as temporary,
        temporary.open("w", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", "exit", "mean_accuracy_percent", "standard_deviation", "seeds"])
        for row, values in accuracies.items():
            for exit, (mean, spread) in enumerate(_statistics(values), start=1):
                writer.writerow([row, exit, f"{mean:.4f}", f"{spread:.4f}", len(values)])
    print(f"\n| | {' | '.join(f'exit {number}' for number in range(1, num_exits + 1))} |")
    print(f"|---{'|---' * num_exits}|")
    for row, values in accuracies.items():
        cells = [f"{mean:.2f} ± {spread:.2f}" for mean, spread in _statistics(values)]
        print(f"| {row} | {' | '.join(cells)} |")
    print("\nTest accuracy in percent: mean and standard deviation over the seeds.")


def _statistics(values):
    """Mean and sample standard deviation of every exit."""
    return zip(values.mean(axis=0), values.std(axis=0, ddof=1), strict=True)


def _runs_dir():
    return pathlib.Path(_RUNS_DIR.value)


if __name__ == "__main__":
    program.run(main)
