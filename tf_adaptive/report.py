"""The report of a trained network: two tables and the figures in a folder."""

import csv
import os

import numpy as np

from tf_adaptive import plots
from tf_adaptive.errors import InputError
from tf_adaptive.evaluation import (
    anytime,
    budgeted,
    cheapest_budget,
    confidences_of_exits,
)
from tf_adaptive.files import unfinished_folder
from tf_adaptive.policies import choose_exits


def write_report(
    directory,
    validation_logits,
    test_logits,
    test_labels,
    costs,
    pictures,
    class_names=None,
    measure="max_probability",
):
    """Writes `anytime.csv`, `budgeted.csv` and the figures into `directory`.

    The figures are `accuracy_against_macs.png`, `exits_along_budget.png` and
    `first_and_last_exit.png`; the last is drawn at the cheapest budget within half a point of
    the last exit's accuracy. A network with one exit has none of them. Each file is put in place
    whole; where anything fails before that, none is.

    Args:
        directory: the folder, made when missing; a former report in it is replaced.
        validation_logits: float `(exits, samples, classes)`, for the thresholds.
        test_logits: float `(exits, samples, classes)`.
        test_labels: integers `(samples,)`.
        costs: one row per exit with `.macs`, `.lazy_macs` and `.parameters`.
        pictures: a function from a list of test positions to their images, uint8
            `(height, width, 1 or 3)` each.
        class_names: a name per class; the class numbers when None.
        measure: see `policies.confidence_scores`.

    Returns:
        `(anytime_rows, budget_rows)`, see `evaluation`.

    Raises:
        InputError: what `anytime` and `budgeted` refuse, a wrong number of class names, or a
            `directory` that is a file.
    """
    check_directory(directory)
    anytime_rows = anytime(test_logits, test_labels, costs)
    budget_rows = budgeted(validation_logits, test_logits, test_labels, costs, measure)
    class_names = checked_class_names(class_names, test_logits.shape[-1])

    figures = {}
    if len(anytime_rows) > 1:
        figures = {
            "accuracy_against_macs.png": plots.accuracy_against_macs(anytime_rows, budget_rows),
            "exits_along_budget.png": plots.exits_along_budget(budget_rows),
            "first_and_last_exit.png": _first_and_last_exit(
                anytime_rows, budget_rows, test_logits, test_labels, pictures, class_names, measure
            ),
        }
    tables = {
        "anytime.csv": anytime_table(anytime_rows),
        "budgeted.csv": budget_table(budget_rows, measure),
    }
    put_in_place(directory, tables, figures)
    return anytime_rows, budget_rows


def anytime_table(anytime_rows):
    """The rows of `anytime.csv`: a dict from column to text or number for each exit."""
    return [
        {
            "exit": row.exit,
            "macs": row.macs,
            "lazy_macs": row.lazy_macs,
            "parameters": row.parameters,
            "accuracy_percent": f"{row.accuracy_percent:.4f}",
        }
        for row in anytime_rows
    ]


def budget_table(budget_rows, measure):
    """The rows of `budgeted.csv`: a dict from column to text or number for each budget."""
    table = []
    for row in budget_rows:
        shares = {f"share_exit_{k}": f"{share:.6f}" for k, share in enumerate(row.shares, 1)}
        # A float32 prints as the shortest decimal that reads back as the same float32.
        thresholds = {f"threshold_exit_{k}": str(t) for k, t in enumerate(row.thresholds, 1)}
        table.append(
            {
                "p": row.p,
                "measure": measure,
                "mean_macs": row.mean_macs,
                "mean_lazy_macs": row.mean_lazy_macs,
                "accuracy_percent": f"{row.accuracy_percent:.4f}",
                **shares,
                **thresholds,
            }
        )
    return table


def check_directory(directory):
    """Refuses a report's `directory` that is a file."""
    if os.path.exists(directory) and not os.path.isdir(directory):
        raise InputError(
            f"`directory` must be a folder. Received: the file {os.fspath(directory)!r}."
        )


def checked_class_names(class_names, num_classes):
    """The class names, or the class numbers where they are None; refuses a wrong number."""
    if class_names is None:
        return [str(number) for number in range(num_classes)]
    if len(class_names) != num_classes:
        raise InputError(
            f"`class_names` must hold a name for each of the {num_classes} classes of the "
            f"logits. Received: {len(class_names)} names."
        )
    return class_names


def picture_grid(words, chosen, predicted, labels, pictures, *, most):
    """A heading and the images for a grid of some of the test set's pictures.

    Args:
        words: what the heading starts with.
        chosen: ascending test positions.
        predicted: integers `(samples,)`, the class of each test image.
        labels: integers `(samples,)`.
        pictures: see `write_report`.
        most: how many images to show.

    Returns:
        `(heading, images)`, see `plots.first_and_last_exit`.
    """
    heading = f"{words}: {len(chosen):,} of {len(labels):,} images"
    if len(chosen):
        accuracy = 100 * np.mean(predicted[chosen] == labels[chosen])
        heading += f", {accuracy:.1f} % right"
    # Evenly spaced over the test set, so that nobody picked them.
    shown = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), most)).round().astype(int)]
    images = [
        (picture, predicted[index], labels[index])
        for index, picture in zip(shown, pictures(shown.tolist()), strict=True)
    ]
    return heading, images


def put_in_place(directory, tables, figures):
    """Writes tables and figures into a folder, each whole; where one fails, none.

    Args:
        directory: the folder, made when missing.
        tables: dict from file name to a list of dicts from column to text or number.
        figures: dict from file name to `matplotlib.figure.Figure`.
    """
    os.makedirs(directory, exist_ok=True)
    with unfinished_folder(directory) as unfinished:
        for name, table in tables.items():
            _write_csv(os.path.join(unfinished, name), table)
        for name, figure in figures.items():
            figure.savefig(os.path.join(unfinished, name), dpi=200)
        for name in sorted(os.listdir(unfinished)):
            os.replace(os.path.join(unfinished, name), os.path.join(directory, name))


def _write_csv(path, table):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def _first_and_last_exit(
    anytime_rows, budget_rows, test_logits, test_labels, pictures, class_names, measure
):
    last_exit = anytime_rows[-1]
    budget = cheapest_budget(budget_rows, last_exit.accuracy_percent - 0.5)
    exits = choose_exits(confidences_of_exits(test_logits, measure), budget.thresholds)

    def grid(number, words):
        chosen = np.flatnonzero(exits == number)
        predicted = test_logits[number - 1].argmax(axis=-1)
        return picture_grid(words, chosen, predicted, test_labels, pictures, most=20)

    title = (
        f"Budget of {budget.mean_macs / 1e6:,.1f} million MACs per image "
        f"({100 * budget.mean_macs / last_exit.macs:.0f} % of the whole network), "
        f"p = {budget.p:g}\n"
        f"accuracy {budget.accuracy_percent:.1f} % "
        f"(last exit for all images: {last_exit.accuracy_percent:.1f} %)"
    )
    return plots.first_and_last_exit(
        first=grid(1, "Left at the first exit"),
        last=grid(len(test_logits), "Needed the last exit"),
        class_names=class_names,
        title=title,
    )
