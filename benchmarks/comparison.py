"""Accuracy against cost of several finished runs on the same data, in one table and one figure.

    python -m benchmarks.comparison --run_dirs runs/fashion_mnist,runs/fashion_mnist_ranet \
        --figure comparison.png

As in Figures 2, 3 and 5 of Li et al. 2019 and 5 and 6 of Yang et al. 2020. Runs to which --labels
gives the same label are one family, such as MSDNets of several sizes: their budgets are joined to
the best at each cost, which the calibration images choose and the test images tell of. Networks
with one exit, of trainers.train_static, are a curve in order of cost.
"""

import pathlib

from absl import flags

from tf_adaptive.errors import InputError
from tf_adaptive.exits import plots
from tf_adaptive.files import replaced_whole
from tf_adaptive.pictures import AS_STORED
from tf_adaptive.programs import program
from tf_adaptive.reports.figures import OKABE_ITO
from tf_adaptive.runs.directory import read_config
from tf_adaptive.runs.tables import read_report

_RUN_DIRS = flags.DEFINE_list("run_dirs", None, "directories of finished runs", required=True)
_LABELS = flags.DEFINE_list(
    "labels",
    None,
    "what to call each run, one label for those of a family; presets, or folders, if unset",
)
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
    if len(_RUN_DIRS.value) < 2:
        raise InputError(f"`run_dirs` must be two runs or more. Received: {len(_RUN_DIRS.value)}.")
    configs = [read_config(run_dir) for run_dir in _RUN_DIRS.value]
    for name in _DATA:
        values = [config.get(name, _DEFAULTS.get(name)) for config in configs]
        if any(value != values[0] for value in values):
            raise InputError(f"The runs must have the same {name}. Received: {values}.")
    families = {}
    for label, run_dir in zip(_labels(configs), _RUN_DIRS.value, strict=True):
        report = [read_report(run_dir, table) for table in ("anytime", "budgeted")]
        families.setdefault(label, []).append(report)
    if len(families) > len(OKABE_ITO):
        raise InputError(
            f"`labels` must be at most {len(OKABE_ITO)} different ones. Received: {len(families)}."
        )
    print("| network | | M MACs | test accuracy |\n|---|---|---|---|")
    for label, reports in families.items():
        for anytime, budgeted in reports:
            for row in anytime:
                _print_row(label, f"exit {row['exit']}", row["macs"], row["accuracy_percent"])
            for row in budgeted if len(anytime) > 1 else ():
                if row["p"] in _BUDGETS.value:
                    words = f"early exit, p = {row['p']}"
                    _print_row(label, words, row["mean_macs"], row["accuracy_percent"])
    if _FIGURE.value is not None:
        figure = plots.accuracy_of_runs(
            {label: _curves(reports) for label, reports in families.items()}
        )
        with replaced_whole(pathlib.Path(_FIGURE.value)) as temporary:
            figure.savefig(temporary, dpi=200, format="png")


def _labels(configs):
    if _LABELS.value is None:
        presets = [config.get("preset") for config in configs]
        if None not in presets and len(set(presets)) == len(presets):
            return presets
        names = [pathlib.Path(run_dir).resolve().name for run_dir in _RUN_DIRS.value]
        return names if len(set(names)) == len(names) else _RUN_DIRS.value
    if len(_LABELS.value) != len(configs):
        raise InputError(
            f"`labels` must be one for each of the {len(configs)} runs. "
            f"Received: {len(_LABELS.value)}."
        )
    return _LABELS.value


def _curves(reports):
    """The anytime curves of a family's networks, and the curve of its budgets."""
    several = [report for report in reports if len(report[0]) > 1]
    anytime = [[_point(row, "macs") for row in rows] for rows, _ in several]
    # Networks with one exit are one curve, in order of cost.
    alone = sorted(_point(rows[0], "macs") for rows, _ in reports if len(rows) == 1)
    budgets = [row for _, budgeted in several for row in budgeted]
    if len(several) > 1:
        budgets = _best_at_each_cost(budgets)
    return [*anytime, *([alone] if alone else [])], [_point(row, "mean_macs") for row in budgets]


def _best_at_each_cost(budgets):
    """Those that no cheaper one is as accurate as, by the calibration images."""
    best = []
    for row in sorted(budgets, key=lambda row: float(row["calibration_mean_macs"])):
        accuracy = float(row["calibration_accuracy_percent"])
        if not best or accuracy > float(best[-1]["calibration_accuracy_percent"]):
            best.append(row)
    return best


def _point(row, cost):
    return float(row[cost]), float(row["accuracy_percent"])


def _print_row(preset, label, macs, accuracy):
    print(f"| {preset} | {label} | {float(macs) / 1e6:.2f} | {float(accuracy):.2f} % |")


if __name__ == "__main__":
    program.run(main)
