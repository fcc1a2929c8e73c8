"""Means and spreads over seeds, as a table on the terminal and as a CSV file."""

import csv

import numpy as np

from tf_adaptive.exits.operating_point import choose_operating_point
from tf_adaptive.files import replaced_whole
from tf_adaptive.runs.tables import read_exit_report, read_report

# Of the whole network's multiply-accumulates.
_BUDGETS = (0.3, 0.5, 0.75)


def tell_exits_and_budgets(runs, path):
    """Each exit's test accuracy, and early exit's at three budgets, as `tell` does.

    The calibration images chose the thresholds of the budgets. A budget below the report's cheapest
    is that one.

    Args:
        runs: dictionary from the name of a row to the directories of its runs, one a seed.
        path: see `tell`.
    """
    values = {
        row: np.array([_accuracies(run_dir) for run_dir in run_dirs])
        for row, run_dirs in runs.items()
    }
    num_exits = next(iter(values.values())).shape[1] - len(_BUDGETS)
    columns = [
        *(f"exit {number}" for number in range(1, num_exits + 1)),
        *(f"{100 * share:.0f} % of the MACs" for share in _BUDGETS),
    ]
    print("\nTest accuracy in percent, mean and standard deviation over the seeds:")
    tell(values, columns, path)


def _accuracies(run_dir):
    rows = read_exit_report(run_dir, len(read_report(run_dir, "anytime")))
    whole = rows.anytime[-1].macs
    # A small network's first exit may cost more than the lowest of them.
    least = min(row.calibration_mean_macs for row in rows.budgets) * (1 + 1e-9)
    points = [
        choose_operating_point(rows, budget_mmacs=max(share * whole, least) / 1e6)
        for share in _BUDGETS
    ]
    return [
        *(row.accuracy_percent for row in rows.anytime),
        *(point.accuracy_percent for point in points),
    ]


def tell(values, columns, path):
    """Prints a table of means and standard deviations over the seeds, and writes a CSV file of it.

    Args:
        values: dictionary from the name of a row to `(seeds, columns)` percentages.
        columns: names of the columns.
        path: `pathlib.Path` of the file.
    """
    texts, cells = [], []
    for row, of_row in values.items():
        texts.append([row])
        for column, of_seeds in zip(columns, np.transpose(of_row), strict=True):
            # One seed has no deviation.
            mean, deviations = of_seeds.mean(), [of_seeds.std(ddof=1)] if len(of_seeds) > 1 else []
            texts[-1].append(" ± ".join(f"{value:.2f}" for value in (mean, *deviations)))
            cells.append(
                {
                    **{"row": row, "column": column, "mean": f"{mean:.4f}"},
                    "standard_deviation": "".join(f"{value:.4f}" for value in deviations),
                    "seeds": len(of_seeds),
                }
            )
    print_table(["", *columns], texts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_whole(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(cells[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(cells)


def print_table(columns, rows):
    """Prints a table in Markdown.

    Args:
        columns: heads of the columns.
        rows: lists of texts, as many in each as there are columns.
    """
    print(f"\n| {' | '.join(columns)} |")
    print(f"|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
