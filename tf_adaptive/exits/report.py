"""The report of a trained network: two tables and the figures in a folder."""

import numpy as np

from tf_adaptive.exits import plots
from tf_adaptive.exits.evaluation import anytime, budgeted, cheapest_budget, confidences_of_exits
from tf_adaptive.exits.thresholds import choose_exits
from tf_adaptive.reports.files import check_directory, put_in_place
from tf_adaptive.reports.pictures import checked_class_names, picture_grid


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
