"""The report of a network with exits: tables and figures in a folder."""

import dataclasses
import pathlib
import warnings

import numpy as np

from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.exits import plots
from tf_adaptive.exits.calibration import calibration_rows, check_represents, fit_temperatures
from tf_adaptive.exits.costs import profile
from tf_adaptive.exits.evaluation import (
    AnytimeRow,
    BudgetRow,
    anytime,
    at_thresholds,
    cheapest_budget,
    confidences_of_exits,
    exits_and_shares,
    loss_counts,
    nested_from_safest,
    of_exits,
    right_by_labels,
    searched,
    sweep,
)
from tf_adaptive.exits.operating_point import (
    DEFAULT_ACCURACY_DROP,
    ExitRows,
    check_temperatures,
    choose_operating_point,
)
from tf_adaptive.exits.page import report_page
from tf_adaptive.exits.promise import LossCounts
from tf_adaptive.exits.thresholds import MEASURES, NEVER, check_thresholds
from tf_adaptive.files import replaced_whole
from tf_adaptive.reports.files import check_directory, put_in_place
from tf_adaptive.reports.logits import check_logits, logits_collector, percent
from tf_adaptive.reports.pictures import checked_class_names, picture_grid

# What images of each split are for.
_USES = {
    "train": "weights",
    "validation": "temperatures and the families of thresholds",
    "calibration": "the choice among thresholds, and promises",
    "test": "what is told of them",
}

_PAGE_PICTURES = 60

# What tables say in place of the threshold of an exit that is off.
_OFF = "off"


class ExitReport:
    """What a network with K exits reaches at each exit and at each budget.

    Temperatures and thresholds are made of the validation samples, one of them is chosen by the
    calibration samples, and what it gives is told of the test samples.

    Args:
        validation_logits: float `(exits, samples, classes)`.
        test_logits: float `(exits, samples, classes)`.
        test_labels: integers `(samples,)`.
        costs: one row per exit with `.macs`, `.lazy_macs` and `.parameters`.
        pictures: a function from a list of test positions to their images, uint8
            `(height, width, 1 or 3)` each.
        validation_labels: integers `(samples,)`; None where they are not known: what the last exit
            says counts as right then, and all temperatures are 1.
        calibration_logits, calibration_labels: the same of the calibration samples; without logits,
            the validation samples are used for both, and for a promise one half of them for each.
        calibrated_on: the calibration samples in words.
        sizes: number of images by split, to be told; None to tell nothing.
        class_names: a name per class; the class numbers when None.
        measure: see `confidence_scores`.

    Attributes:
        anytime: a list of `AnytimeRow`, one per exit.
        budgets: a list of `BudgetRow`, in order of p.
        optimal: a list of `BudgetRow` of thresholds that are searched jointly.
        family: a list of `(BudgetRow, LossCounts)`, from the safest to the cheapest, of samples
            that did not make its thresholds: what promises are made of.
        temperatures: float32 `(exits,)`, of least negative log-likelihood.
        calibration: a list of `CalibrationRow`, one per exit, of the test samples.
        latencies: a list of `LatencyRow`, measured somewhere; None until it is set.
        near_last_exit: the cheapest budget within half a point of the last exit on the calibration
            images, or the most accurate one.
        test_logits, test_labels, costs, measure, sizes: as given.
        calibrated_on: the images that budgets are chosen by, in words.

    Raises:
        InputError: what `at_thresholds` refuses, or a wrong number of class names.
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
        calibration_logits=None,
        calibration_labels=None,
        calibrated_on="calibration images",
        sizes=None,
        class_names=None,
        measure="max_probability",
    ):
        self.test_logits = test_logits
        self.test_labels = test_labels
        self.costs = costs
        self.measure = measure
        self.calibrated_on = calibrated_on
        self.sizes = sizes
        self.latencies = None
        check_logits("validation_logits", validation_logits)
        # For a promise, what made temperatures and thresholds must not test them.
        makers = (validation_logits, validation_labels)
        testers = (calibration_logits, calibration_labels)
        if calibration_logits is None:
            self.calibrated_on = "validation images"
            calibration_logits, calibration_labels = makers
            makers, testers = (_every_second(*makers, first) for first in (0, 1))
        self.temperatures = np.ones(len(test_logits), "float32")
        if validation_labels is not None:
            self.temperatures = fit_temperatures(*makers)
        settings = {"measure": measure, "temperatures": self.temperatures}

        swept = sweep(validation_logits, **settings)
        optimal = searched(validation_logits, validation_labels, costs, **settings)
        made = swept if makers[0] is validation_logits else sweep(makers[0], **settings)
        nested = nested_from_safest(made)
        counts = loss_counts(*testers, [thresholds for _, thresholds in nested], **settings)
        rows = at_thresholds(
            [*swept.items(), *((None, thresholds) for thresholds in optimal), *nested],
            calibration_logits,
            test_logits,
            test_labels,
            costs,
            calibration_labels=calibration_labels,
            **settings,
        )
        self.budgets, rows = rows[: len(swept)], rows[len(swept) :]
        self.optimal, rows = rows[: len(optimal)], rows[len(optimal) :]
        self.family = list(zip(rows, counts, strict=True))
        self.anytime = anytime(
            test_logits,
            test_labels,
            costs,
            calibration_logits=calibration_logits,
            calibration_labels=calibration_labels,
        )
        self._confidences = confidences_of_exits(test_logits, **settings)
        self.calibration = calibration_rows(
            test_logits, test_labels, self.temperatures, self._confidences
        )
        self.near_last_exit = cheapest_budget(
            self.budgets, self.anytime[-1].calibration_accuracy_percent - DEFAULT_ACCURACY_DROP
        )
        self._class_names = checked_class_names(class_names, test_logits.shape[-1])
        self._pictures = pictures

    @property
    def rows(self):
        """What operating points are chosen among, `ExitRows`."""
        return ExitRows(
            anytime=self.anytime,
            measure=self.measure,
            temperatures=self.temperatures,
            budgets=self.budgets,
            optimal=self.optimal,
            family=self.family,
            calibrated_on=self.calibrated_on,
            latencies=self.latencies,
        )

    def operating_point(self, **choice):
        """Thresholds, chosen on the calibration images, and what they give on the test images.

        Args:
            **choice: `budget_mmacs`, `accuracy_drop`, `thresholds`, `risk` and `confidence`,
                `latency_ms` and `latency_by` (once `latencies` is set), `method`: see
                `choose_operating_point`.

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
        point = choose_operating_point(self.rows, **choice)
        if choice.get("thresholds") is None:
            return point
        exits, shares = self._exits_at(point.thresholds)
        right = right_by_labels(self.test_logits, self.test_labels)
        return dataclasses.replace(
            point,
            accuracy_percent=percent(of_exits(right, exits)),
            mean_macs=round(float(shares @ [row.macs for row in self.anytime])),
            shares=tuple(shares.tolist()),
        )

    def write(self, directory):
        """Writes `anytime.csv`, `budgeted.csv`, `calibration.csv` and the figures into a folder.

        `optimal.csv` and `promise.csv` hold `optimal` and `family`. The figures are
        `accuracy_against_macs.png`, `exits_along_budget.png` and `first_and_last_exit.png`; the
        last is drawn at `near_last_exit`. A network with one exit has neither these tables nor
        these figures, nor `report.html`, a page to play with. `reliability.png` shows what
        `calibration.csv` says. Each file is put in place whole; where anything fails before that,
        none is.

        Args:
            directory: the folder, made when missing; a former report in it is replaced.

        Raises:
            InputError: `directory` is a file.
        """
        check_directory(directory)
        figures = {
            "reliability.png": plots.reliability_diagrams(
                self.test_logits, self.test_labels, self.calibration
            )
        }
        tables = {
            "anytime.csv": anytime_table(self.rows),
            "budgeted.csv": budget_table(self.budgets, self.measure),
            "calibration.csv": list(map(dataclasses.asdict, self.calibration)),
        }
        if self.sizes is not None:
            tables["splits.csv"] = [
                {"split": split, "images": images, "used_for": _USES[split]}
                for split, images in self.sizes.items()
            ]
        if len(self.anytime) > 1:
            tables |= {
                "optimal.csv": budget_table(self.optimal, self.measure),
                "promise.csv": family_table(self.family, self.measure),
            }
            figures |= {
                "accuracy_against_macs.png": plots.accuracy_against_macs(
                    self.anytime, self.budgets, optimal=self.optimal
                ),
                "exits_along_budget.png": plots.exits_along_budget(self.budgets),
                "first_and_last_exit.png": self._first_and_last_exit(),
            }
        put_in_place(directory, tables, figures)
        if len(self.anytime) > 1:
            self.write_page(directory)

    def write_page(self, directory, *, static=(), others=()):
        """Writes `report.html` into a folder.

        Args:
            directory: the folder.
            static, others: see `report_page`.
        """
        count = min(_PAGE_PICTURES, len(self.test_labels))
        # Evenly spaced over the test set, so that nobody picked them.
        shown = np.linspace(0, len(self.test_labels) - 1, count).round().astype(int)
        pictures = zip(
            self._pictures(shown.tolist()),
            self.test_labels[shown],
            self.test_logits[:, shown].argmax(-1).T,
            self._confidences[:, shown].T,
            strict=True,
        )
        page = report_page(
            self.rows,
            near=self.near_last_exit,
            pictures=list(pictures),
            class_names=self._class_names,
            static=static,
            others=others,
            about=f"Accuracies of {len(self.test_labels):,} test images. Thresholds are chosen on "
            f"the {self.calibrated_on}; confidence: {self.measure}.",
        )
        with replaced_whole(pathlib.Path(directory) / "report.html") as temporary:
            temporary.write_text(page, encoding="utf-8")

    def _exits_at(self, thresholds):
        """The exit at which each test image leaves, from 1, and the share at each."""
        return exits_and_shares(self._confidences, thresholds)

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


def evaluate_exits(model, dataset, *, measure, batch_size, shown, own_pictures=None):
    """Collects a network's logits on all but the training images, and reports on them.

    Args:
        model: functional `keras.Model` with K exits.
        dataset: `ImageDataset`.
        measure: see `confidence_scores`.
        batch_size: images in a batch.
        shown: function of a split's batches and its name, which gives them back and may show how
            far they are.
        own_pictures: `(images, labelled, words)` in place of the calibration images: batches of
            `(images, labels)`, whether the labels say anything, and what they are.

    Returns:
        `ExitReport`.
    """
    splits = ["validation", "test"]
    if own_pictures is None and dataset.sizes["calibration"]:
        splits.append("calibration")
    collect = logits_collector(model)
    collected = {
        split: collect(shown(dataset.batches(split, batch_size), split)) for split in splits
    }
    words, sizes = "calibration images", dict(dataset.sizes)
    if own_pictures is not None:
        images, labelled, words = own_pictures
        logits, labels = collect(images)
        collected["calibration"] = (logits, labels if labelled else None)
        sizes["calibration"] = len(labels)
    (validation_logits, validation_labels), (test_logits, test_labels) = (
        collected[split] for split in ("validation", "test")
    )
    calibration_logits, calibration_labels = collected.get("calibration", (None, None))
    if calibration_labels is not None:
        try:
            check_represents(calibration_labels, dataset.num_classes, f"The {words}")
        except InputError as error:
            # Rare classes may be in no split but one; a finished training is reported all the same.
            if own_pictures is not None:
                raise
            warnings.warn(str(error), stacklevel=2)
    return ExitReport(
        validation_logits,
        test_logits,
        test_labels,
        profile(model),
        lambda indices: dataset.pictures("test", indices),
        validation_labels=validation_labels,
        calibration_logits=calibration_logits,
        calibration_labels=calibration_labels,
        calibrated_on=words,
        sizes=sizes,
        class_names=dataset.class_names,
        measure=measure,
    )


def anytime_table(rows):
    """The rows of `anytime.csv`: a dict from column to text or number for each exit.

    Args:
        rows: `ExitRows`.
    """
    return [
        {
            "exit": row.exit,
            "macs": row.macs,
            "lazy_macs": row.lazy_macs,
            "parameters": row.parameters,
            "temperature": str(temperature),
            "calibrated_on": rows.calibrated_on,
            "calibration_accuracy_percent": f"{row.calibration_accuracy_percent:.4f}",
            "accuracy_percent": f"{row.accuracy_percent:.4f}",
        }
        for row, temperature in zip(rows.anytime, rows.temperatures, strict=True)
    ]


def budget_table(budget_rows, measure):
    """The rows of `budgeted.csv`: a dict from column to text or number for each budget."""
    table = []
    for row in budget_rows:
        shares = {
            f"{prefix}share_exit_{k}": f"{share:.6f}"
            for prefix, of_exits in (("", row.shares), ("calibration_", row.calibration_shares))
            for k, share in enumerate(of_exits, 1)
        }
        # A float32 prints as the shortest decimal that reads back as the same float32.
        thresholds = {
            f"threshold_exit_{k}": _OFF if threshold == NEVER else str(threshold)
            for k, threshold in enumerate(row.thresholds, 1)
        }
        table.append(
            {
                "p": "" if row.p is None else row.p,
                "measure": measure,
                "mean_macs": row.mean_macs,
                "mean_lazy_macs": row.mean_lazy_macs,
                "accuracy_percent": f"{row.accuracy_percent:.4f}",
                "calibration_mean_macs": row.calibration_mean_macs,
                "calibration_accuracy_percent": f"{row.calibration_accuracy_percent:.4f}",
                **shares,
                **thresholds,
            }
        )
    return table


def family_table(family, measure):
    """The rows of `promise.csv`: those of `budget_table`, with their counts of losses."""
    table = budget_table([row for row, _ in family], measure)
    return [
        {**row, **{f"tested_{name}": count for name, count in dataclasses.asdict(counts).items()}}
        for row, (_, counts) in zip(table, family, strict=True)
    ]


def rows_of_tables(anytime_table, budget_table, optimal_table=(), family_table=()):
    """What the tables hold, as they were written.

    Args:
        anytime_table, budget_table, optimal_table, family_table: their rows, dictionaries from
            column to text; the last two of no rows for a network with one exit.

    Returns:
        `ExitRows`.

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
                calibration_accuracy_percent=float(row["calibration_accuracy_percent"]),
            )
            for row in anytime_table
        ]
        temperatures = check_temperatures([row["temperature"] for row in anytime_table], num_exits)
        budget_rows, optimal_rows, family_rows = (
            [_budget_row(row, num_exits) for row in table]
            for table in (budget_table, optimal_table, family_table)
        )
        counts = [_loss_counts(row) for row in family_table]
        measure = budget_table[0]["measure"]
        calibrated_on = anytime_table[0]["calibrated_on"]
        check_choice("measure", measure, MEASURES)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            "The report's tables must be of this network and of this version: run "
            "trainers.evaluate again. "
            f"Received: a row that does not fit its {num_exits} exits ({error})."
        ) from error
    return ExitRows(
        anytime=anytime_rows,
        measure=measure,
        temperatures=temperatures,
        budgets=budget_rows,
        optimal=optimal_rows,
        family=list(zip(family_rows, counts, strict=True)),
        calibrated_on=calibrated_on,
    )


def _every_second(logits, labels, first):
    """Half of samples, from the first or the second on."""
    return logits[:, first::2], None if labels is None else labels[first::2]


def _loss_counts(row):
    counts = {name: row[f"tested_{name}"] for name in ("images", "spoiled", "mended", "differing")}
    return LossCounts(**{name: int(count) if count else None for name, count in counts.items()})


def _budget_row(row, num_exits):
    # Through float32, so that a sample leaves where it did in the report.
    texts = [row[f"threshold_exit_{k}"] for k in range(1, num_exits)]
    thresholds = [NEVER if text == _OFF else np.float32(text) for text in texts]
    return BudgetRow(
        p=float(row["p"]) if row["p"] else None,
        mean_macs=int(row["mean_macs"]),
        mean_lazy_macs=int(row["mean_lazy_macs"]),
        accuracy_percent=float(row["accuracy_percent"]),
        shares=tuple(float(row[f"share_exit_{k}"]) for k in range(1, num_exits + 1)),
        thresholds=tuple(check_thresholds(thresholds, num_exits)),
        calibration_accuracy_percent=float(row["calibration_accuracy_percent"]),
        calibration_mean_macs=int(row["calibration_mean_macs"]),
        calibration_shares=tuple(
            float(row[f"calibration_share_exit_{k}"]) for k in range(1, num_exits + 1)
        ),
    )
