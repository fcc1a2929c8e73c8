"""Means and spreads over seeds, as a table on the terminal and as a CSV file."""

import csv

import numpy as np

from tf_adaptive.files import replaced_whole


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
