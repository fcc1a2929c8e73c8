"""Accuracy against cost of several finished runs on the same data, in one table and one figure.

    python -m benchmarks.comparison --run_dirs runs/fashion_mnist,runs/fashion_mnist_ranet \
        --figure comparison.png
"""

import pathlib

from absl import flags

from tf_adaptive.data.decoding import AS_STORED
from tf_adaptive.errors import InputError
from tf_adaptive.exits import plots
from tf_adaptive.files import replaced_whole
from tf_adaptive.programs import program
from tf_adaptive.reports.figures import OKABE_ITO
from tf_adaptive.runs.directory import read_config
from tf_adaptive.runs.tables import read_report

_RUN_DIRS = flags.DEFINE_list("run_dirs", None, "directories of finished runs", required=True)
_BUDGETS = flags.DEFINE_list("budgets", ["0.25", "0.5", "1.0"], "p of the budgets in the table")
_FIGURE = flags.DEFINE_string("figure", None, "where to draw both kinds of curves, a .png file")

# What must be the same for accuracies to be compared.
_DATA = (
    *("dataset", "image_size", "validation_size", "calibration_size"),
    *("evaluation_split", "picture_reading"),
)
# What runs of former versions lack.
_DEFAULTS = {"picture_reading": AS_STORED, "calibration_size": 0}


def main():
    if not 2 <= len(_RUN_DIRS.value) <= len(OKABE_ITO):
        raise InputError(
            f"`run_dirs` must be 2 to {len(OKABE_ITO)} runs. Received: {len(_RUN_DIRS.value)}."
        )
    configs = [read_config(run_dir) for run_dir in _RUN_DIRS.value]
    for name in _DATA:
        values = [config.get(name, _DEFAULTS.get(name)) for config in configs]
        if any(value != values[0] for value in values):
            raise InputError(f"The runs must have the same {name}. Received: {values}.")
    reports = {
        config["preset"]: [read_report(run_dir, table) for table in ("anytime", "budgeted")]
        for config, run_dir in zip(configs, _RUN_DIRS.value, strict=True)
    }
    if len(reports) < len(configs):
        raise InputError(
            "The runs must be of different presets, by which they are named. "
            f"Received: {[config['preset'] for config in configs]}."
        )
    print("| network | | M MACs | test accuracy |\n|---|---|---|---|")
    for preset, (anytime, budgeted) in reports.items():
        for row in anytime:
            _print_row(preset, f"exit {row['exit']}", row["macs"], row["accuracy_percent"])
        chosen = [row for row in budgeted if row["p"] in _BUDGETS.value]
        for row in chosen:
            label = f"early exit, p = {row['p']}"
            _print_row(preset, label, row["mean_macs"], row["accuracy_percent"])
    if _FIGURE.value is not None:
        curves = {
            preset: (
                [_point(row, "macs") for row in anytime],
                [_point(row, "mean_macs") for row in budgeted],
            )
            for preset, (anytime, budgeted) in reports.items()
        }
        with replaced_whole(pathlib.Path(_FIGURE.value)) as temporary:
            plots.accuracy_of_runs(curves).savefig(temporary, dpi=200, format="png")


def _point(row, cost):
    return float(row[cost]), float(row["accuracy_percent"])


def _print_row(preset, label, macs, accuracy):
    print(f"| {preset} | {label} | {float(macs) / 1e6:.2f} | {float(accuracy):.2f} % |")


if __name__ == "__main__":
    program.run(main)
