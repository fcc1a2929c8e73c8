"""Which thresholds a network is served with, chosen from the report of its run."""

import dataclasses

import numpy as np

from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.exits.thresholds import MEASURES, check_thresholds
from tf_adaptive.runs.tables import read_report

# Where nothing else is asked for, as in the run's own report.
DEFAULT_ACCURACY_DROP = 0.5


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """Thresholds, and what they were measured to give.

    Attributes:
        thresholds: float32 `(exits - 1,)`.
        measure: confidence that they are of, see `confidence_scores`: that of the report.
        chosen: how they were chosen, in words.
        mean_macs: mean multiply-accumulates per test image; None where it was not measured.
        accuracy_percent: top-1 on the test images; None where it was not measured.
    """

    thresholds: np.ndarray
    measure: str
    chosen: str
    mean_macs: int | None = None
    accuracy_percent: float | None = None

    def description(self):
        """What stands of it beside a network, a dictionary in values JSON can hold."""
        # As short as they read back to the same float32.
        thresholds = [float(str(threshold)) for threshold in self.thresholds]
        return {"measure": self.measure, "thresholds": thresholds}


def choose_operating_point(
    anytime_table, budget_table, *, budget_mmacs=None, accuracy_drop=None, thresholds=None
):
    """Thresholds for a budget, for an accuracy, or as given; at most one of the three.

    A network with one exit has no thresholds, and none of the three.

    Args:
        anytime_table, budget_table: rows of the run's `anytime.csv` and `budgeted.csv`,
            dictionaries of text.
        budget_mmacs: millions of multiply-accumulates an image may cost on average: the most
            accurate budget of the report that costs no more.
        accuracy_drop: points below the last exit's accuracy: the cheapest budget of the report
            that loses no more. `DEFAULT_ACCURACY_DROP` where nothing is given.
        thresholds: K − 1 numbers in [0, 1].

    Raises:
        InputError: more than one is given, any for a network with one exit, thresholds that are
            not K − 1 numbers in [0, 1], or a report without such a budget.
    """
    given = {
        "budget_mmacs": budget_mmacs,
        "accuracy_drop": accuracy_drop,
        "thresholds": thresholds,
    }
    given = [name for name, value in given.items() if value is not None]
    if len(given) > 1:
        raise InputError(
            "At most one of `budget_mmacs`, `accuracy_drop` and `thresholds` must be given. "
            f"Received: {' and '.join(given)}"
        )
    points = [_point(row, len(anytime_table)) for row in budget_table]
    if len(anytime_table) == 1:
        check_no_operating_point(
            "a network with one exit",
            budget_mmacs=budget_mmacs,
            accuracy_drop=accuracy_drop,
            thresholds=thresholds,
        )
        return points[0]
    if thresholds is not None:
        thresholds = check_thresholds(thresholds, len(anytime_table))
        return OperatingPoint(thresholds, points[0].measure, "given by hand")
    if budget_mmacs is not None:
        return _within_budget(points, budget_mmacs)
    if accuracy_drop is None:
        accuracy_drop = DEFAULT_ACCURACY_DROP
    return _within_drop(points, float(anytime_table[-1]["accuracy_percent"]), accuracy_drop)


def check_no_operating_point(network="a DRNet", **choice):
    """Refuses what chooses thresholds, where there is a network without any.

    Args:
        network: what it is, in words.
        **choice: "budget_mmacs", "accuracy_drop" and "thresholds", as for
            `choose_operating_point`.

    Raises:
        InputError: one of them is given.
    """
    for name, value in choice.items():
        if value is not None:
            raise InputError(
                f"`{name}` must not be given for {network}, which has no thresholds. "
                f"Received: {name}={value}"
            )


def read_exit_report(run_dir, num_exits):
    """The rows of the run's `anytime.csv` and `budgeted.csv`, dictionaries of text.

    Args:
        run_dir: directory of a finished run.
        num_exits: K of its network.

    Raises:
        InputError: the run has no report, or that of another network.
    """
    anytime_table, budget_table = (read_report(run_dir, name) for name in ("anytime", "budgeted"))
    if len(anytime_table) != num_exits:
        raise InputError(
            f"The report of the run must have a row for each exit of its network, {num_exits}: run "
            f"trainers.evaluate again. Received: {len(anytime_table)} rows"
        )
    return anytime_table, budget_table


def _within_budget(points, budget_mmacs):
    affordable = [point for point in points if point.mean_macs <= budget_mmacs * 1e6]
    if not affordable:
        cheapest = min(point.mean_macs for point in points)
        raise InputError(
            "`budget_mmacs` must be at least that of the report's cheapest budget, "
            f"{cheapest / 1e6:.3g}. Received: budget_mmacs={budget_mmacs:g}"
        )
    best = max(affordable, key=lambda point: (point.accuracy_percent, -point.mean_macs))
    return dataclasses.replace(
        best, chosen=f"the most accurate budget of at most {budget_mmacs:g} million MACs"
    )


def _within_drop(points, last_exit_percent, accuracy_drop):
    accurate = [
        point for point in points if point.accuracy_percent >= last_exit_percent - accuracy_drop
    ]
    if not accurate:
        least = last_exit_percent - max(point.accuracy_percent for point in points)
        raise InputError(
            "`accuracy_drop` must be at least what the report's most accurate budget loses, "
            f"{least:.2f} points. Received: accuracy_drop={accuracy_drop:g}"
        )
    best = min(accurate, key=lambda point: point.mean_macs)
    return dataclasses.replace(
        best,
        chosen=f"the cheapest budget that loses at most {accuracy_drop:g} points against the "
        "last exit",
    )


def _point(row, num_exits):
    try:
        check_choice("measure", row["measure"], MEASURES)
        # Through float32, so that a sample leaves where it did in the report.
        thresholds = [np.float32(row[f"threshold_exit_{k}"]) for k in range(1, num_exits)]
        return OperatingPoint(
            thresholds=check_thresholds(thresholds, num_exits),
            measure=row["measure"],
            chosen="",
            mean_macs=int(row["mean_macs"]),
            accuracy_percent=float(row["accuracy_percent"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "The report's budgeted.csv must be one of this network: run trainers.evaluate again. "
            f"Received: a row that does not fit its {num_exits} exits ({error})"
        ) from error
