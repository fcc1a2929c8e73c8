"""The report of a network with exits: two tables and the figures in a folder."""

import dataclasses

import numpy as np

from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.exits import plots
from tf_adaptive.exits.costs import profile
from tf_adaptive.exits.evaluation import (
    AnytimeRow,
    BudgetRow,
    anytime,
    budgeted,
    cheapest_budget,
    confidences_of_exits,
    exits_and_shares,
)
from tf_adaptive.exits.operating_point import DEFAULT_ACCURACY_DROP, choose_operating_point
from tf_adaptive.exits.thresholds import MEASURES, check_thresholds
from tf_adaptive.reports.files import check_directory, put_in_place
from tf_adaptive.reports.logits import collect_logits, percent
from tf_adaptive.reports.pictures import checked_class_names, picture_grid


class ExitReport:
    """What a network with K exits reaches at each exit and at each budget.

    Args:
        validation_logits: float `(exits, samples, classes)`, for the thresholds.
        test_logits: float `(exits, samples, classes)`.
        test_labels: integers `(samples,)`.
        costs: one row per exit with `.macs`, `.lazy_macs` and `.parameters`.
        pictures: a function from a list of test positions to their images, uint8
            `(height, width, 1 or 3)` each.
        validation_labels: see `budgeted`.
        class_names: a name per class; the class numbers when None.
        measure: see `confidence_scores`.

    Attributes:
        anytime: a list of `AnytimeRow`, one per exit.
        budgets: a list of `BudgetRow`, in order of p.
        near_last_exit: the cheapest budget within half a point of the last exit on the validation
            images, or the most accurate one.
        test_logits, test_labels, costs, measure: as given.

    Raises:
        InputError: what `anytime` and `budgeted` refuse, or a wrong number of class names.
    """

    def __init__(
        self,
        validation_logits,
        test_logits,
        test_labels,
        costs,
        pictures,
        *,
        validation_labels=None,
        class_names=None,
        measure="max_probability",
    ):
        self.test_logits = test_logits
        self.test_labels = test_labels
        self.costs = costs
        self.measure = measure
        self.budgets = budgeted(
            validation_logits,
            test_logits,
            test_labels,
            costs,
            measure,
            validation_labels=validation_labels,
        )
        self.anytime = anytime(
            test_logits,
            test_labels,
            costs,
            validation_logits=validation_logits,
            validation_labels=validation_labels,
        )
        self.near_last_exit = cheapest_budget(
            self.budgets, self.anytime[-1].validation_accuracy_percent - DEFAULT_ACCURACY_DROP
        )
        self._class_names = checked_class_names(class_names, test_logits.shape[-1])
        self._pictures = pictures

    def operating_point(self, *, budget_mmacs=None, accuracy_drop=None, thresholds=None):
        """Thresholds, chosen on the validation images, and what they give on the test images.

        Args:
            budget_mmacs, accuracy_drop, thresholds: see `choose_operating_point`.

        Returns:
            `OperatingPoint`.

        Raises:
            InputError: what `choose_operating_point` refuses.

        Example:
            >>> report = ta.evaluate(model, data)
            >>> point = report.operating_point(budget_mmacs=20)
            >>> point.mean_macs <= 30e6
            True
        """
        point = choose_operating_point(
            self.anytime,
            self.budgets,
            self.measure,
            budget_mmacs=budget_mmacs,
            accuracy_drop=accuracy_drop,
            thresholds=thresholds,
        )
        if thresholds is None:
            return point
        exits, shares = self._exits_at(point.thresholds)
        predicted = self.test_logits.argmax(axis=-1)[exits - 1, np.arange(len(exits))]
        return dataclasses.replace(
            point,
            accuracy_percent=percent(predicted == self.test_labels),
            mean_macs=round(float(shares @ [row.macs for row in self.anytime])),
            shares=tuple(shares.tolist()),
        )

    def write(self, directory):
        """Writes `anytime.csv`, `budgeted.csv` and the figures into a folder.

        The figures are `accuracy_against_macs.png`, `exits_along_budget.png` and
        `first_and_last_exit.png`; the last is drawn at `near_last_exit`. A network with one exit
        has none of them. Each file is put in place whole; where anything fails before that, none
        is.

        Args:
            directory: the folder, made when missing; a former report in it is replaced.

        Raises:
            InputError: `directory` is a file.
        """
        check_directory(directory)
        figures = {}
        if len(self.anytime) > 1:
            figures = {
                "accuracy_against_macs.png": plots.accuracy_against_macs(
                    self.anytime, self.budgets
                ),
                "exits_along_budget.png": plots.exits_along_budget(self.budgets),
                "first_and_last_exit.png": self._first_and_last_exit(),
            }
        tables = {
            "anytime.csv": anytime_table(self.anytime),
            "budgeted.csv": budget_table(self.budgets, self.measure),
        }
        put_in_place(directory, tables, figures)

    def _exits_at(self, thresholds):
        """The exit at which each test image leaves, from 1, and the share at each."""
        confidences = confidences_of_exits(self.test_logits, self.measure)
        return exits_and_shares(confidences, thresholds)

    def _first_and_last_exit(self):
        last_exit, budget = self.anytime[-1], self.near_last_exit
        exits, _ = self._exits_at(budget.thresholds)

        def grid(number, words):
            chosen = np.flatnonzero(exits == number)
            predicted = self.test_logits[number - 1].argmax(axis=-1)
            return picture_grid(words, chosen, predicted, self.test_labels, self._pictures, most=20)

        title = (
            f"Budget of {budget.mean_macs / 1e6:,.1f} million MACs per image "
            f"({100 * budget.mean_macs / last_exit.macs:.0f} % of the whole network), "
            f"p = {budget.p:g}\n"
            f"accuracy {budget.accuracy_percent:.1f} % "
            f"(last exit for all images: {last_exit.accuracy_percent:.1f} %)"
        )
        return plots.first_and_last_exit(
            first=grid(1, "Left at the first exit"),
            last=grid(len(self.anytime), "Needed the last exit"),
            class_names=self._class_names,
            title=title,
        )


def evaluate_exits(model, dataset, *, measure, batch_size, shown):
    """Collects a network's logits on the validation and test images, and reports on them.

    Args:
        model: functional `keras.Model` with K exits.
        dataset: `ImageDataset`.
        measure: see `confidence_scores`.
        batch_size: images in a batch.
        shown: function of a split's batches and its name, which gives them back and may show how
            far they are.

    Returns:
        `ExitReport`.
    """
    collected = {
        split: collect_logits(model, shown(dataset.batches(split, batch_size), split))
        for split in ("validation", "test")
    }
    (validation_logits, validation_labels), (test_logits, test_labels) = collected.values()
    return ExitReport(
        validation_logits,
        test_logits,
        test_labels,
        profile(model),
        lambda indices: dataset.pictures("test", indices),
        validation_labels=validation_labels,
        class_names=dataset.class_names,
        measure=measure,
    )


def anytime_table(anytime_rows):
    """The rows of `anytime.csv`: a dict from column to text or number for each exit."""
    return [
        {
            "exit": row.exit,
            "macs": row.macs,
            "lazy_macs": row.lazy_macs,
            "parameters": row.parameters,
            "validation_accuracy_percent": f"{row.validation_accuracy_percent:.4f}",
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
                "validation_mean_macs": row.validation_mean_macs,
                "validation_accuracy_percent": f"{row.validation_accuracy_percent:.4f}",
                **shares,
                **thresholds,
            }
        )
    return table


def rows_of_tables(anytime_table, budget_table):
    """What `anytime.csv` and `budgeted.csv` hold, as they were written.

    Args:
        anytime_table, budget_table: their rows, dictionaries from column to text.

    Returns:
        `(anytime_rows, budget_rows, measure)`: lists of `AnytimeRow` and `BudgetRow`, and the
        confidence of the thresholds.

    Raises:
        InputError: tables that are not a report's, of one network.
    """
    num_exits = len(anytime_table)
    try:
        anytime_rows = [
            AnytimeRow(
                exit=int(row["exit"]),
                macs=int(row["macs"]),
                lazy_macs=int(row["lazy_macs"]),
                parameters=int(row["parameters"]),
                accuracy_percent=float(row["accuracy_percent"]),
                validation_accuracy_percent=float(row["validation_accuracy_percent"]),
            )
            for row in anytime_table
        ]
        budget_rows = [_budget_row(row, num_exits) for row in budget_table]
        measure = budget_table[0]["measure"]
        check_choice("measure", measure, MEASURES)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            "The report's anytime.csv and budgeted.csv must be of this network and of this "
            "version: run trainers.evaluate again. "
            f"Received: a row that does not fit its {num_exits} exits ({error})."
        ) from error
    return anytime_rows, budget_rows, measure


def _budget_row(row, num_exits):
    # Through float32, so that a sample leaves where it did in the report.
    thresholds = [np.float32(row[f"threshold_exit_{k}"]) for k in range(1, num_exits)]
    return BudgetRow(
        p=float(row["p"]),
        mean_macs=int(row["mean_macs"]),
        mean_lazy_macs=int(row["mean_lazy_macs"]),
        accuracy_percent=float(row["accuracy_percent"]),
        shares=tuple(float(row[f"share_exit_{k}"]) for k in range(1, num_exits + 1)),
        thresholds=tuple(check_thresholds(thresholds, num_exits)),
        validation_accuracy_percent=float(row["validation_accuracy_percent"]),
        validation_mean_macs=int(row["validation_mean_macs"]),
    )
