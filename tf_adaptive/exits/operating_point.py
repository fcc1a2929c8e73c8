"""Where a network with exits is run: its thresholds, what chose them, and what they give."""

import dataclasses

import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.exits.evaluation import cheapest_budget
from tf_adaptive.exits.thresholds import check_thresholds

# Where nothing else is asked for.
DEFAULT_ACCURACY_DROP = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class OperatingPoint:
    """Thresholds, and what they were measured to give.

    Attributes:
        thresholds: float32 `(exits - 1,)`.
        measure: confidence that they are of, see `confidence_scores`.
        chosen: how they were chosen, in words.
        accuracy_percent: top-1 on the test images; None where it was not measured.
        mean_macs: mean multiply-accumulates per test image; None where it was not measured.
        shares: `(exits,)`, the fraction of the test images that left at each exit; None where it
            was not measured.

    Example:
        >>> point = ta.OperatingPoint(np.float32([0.9, 0.8]), "max_probability", "given by hand")
        >>> point.description()["thresholds"]
        [0.9, 0.8]
    """

    thresholds: np.ndarray
    measure: str
    chosen: str
    accuracy_percent: float | None = None
    mean_macs: int | None = None
    shares: tuple[float, ...] | None = None

    def description(self):
        """What stands of it beside a network, a dictionary in values JSON can hold.

        `from_description` reads it.
        """
        return {
            "measure": self.measure,
            # As short as they read back to the same float32.
            "thresholds": [float(str(threshold)) for threshold in self.thresholds],
            "chosen": self.chosen,
            "accuracy_percent": self.accuracy_percent,
            "mean_macs": self.mean_macs,
            "shares": None if self.shares is None else list(self.shares),
        }

    @classmethod
    def from_description(cls, description, num_exits):
        """The point that stands beside a network.

        Args:
            description: dictionary that holds what `description` gave; what former versions lack
                is None.
            num_exits: K of the network.

        Raises:
            InputError: thresholds that are not K − 1 numbers in [0, 1].
        """
        return cls(
            thresholds=check_thresholds(description["thresholds"], num_exits),
            measure=description["measure"],
            chosen=description.get("chosen", ""),
            accuracy_percent=description.get("accuracy_percent"),
            mean_macs=description.get("mean_macs"),
            shares=description.get("shares"),
        )


def choose_operating_point(
    anytime_rows, budget_rows, measure, *, budget_mmacs=None, accuracy_drop=None, thresholds=None
):
    """Thresholds for a budget, for an accuracy, or as given; at most one of the three.

    What is chosen, is chosen on the validation images; what the point says it gives was measured
    on the test images. A network with one exit has no thresholds, and none of the three.

    Args:
        anytime_rows, budget_rows: what `anytime` and `budgeted` gave.
        measure: confidence that the budgets' thresholds are of.
        budget_mmacs: millions of multiply-accumulates an image may cost on average: the most
            accurate budget that costs no more.
        accuracy_drop: points below the last exit's accuracy: the cheapest budget that loses no
            more. Where nothing is given, `DEFAULT_ACCURACY_DROP`, or if all lose more than that the
            most accurate budget.
        thresholds: K − 1 numbers in [0, 1].

    Returns:
        `OperatingPoint`.

    Raises:
        InputError: more than one is given, any for a network with one exit, thresholds that are
            not K − 1 numbers in [0, 1], or no such budget.
    """
    choice = {
        "budget_mmacs": budget_mmacs,
        "accuracy_drop": accuracy_drop,
        "thresholds": thresholds,
    }
    given = [name for name, value in choice.items() if value is not None]
    if len(given) > 1:
        raise InputError(
            "At most one of `budget_mmacs`, `accuracy_drop` and `thresholds` must be given. "
            f"Received: {' and '.join(given)}."
        )
    if len(anytime_rows) == 1:
        check_no_operating_point("a network with one exit", **choice)
        return _point(budget_rows[0], measure, "")
    if thresholds is not None:
        thresholds = check_thresholds(thresholds, len(anytime_rows))
        return OperatingPoint(thresholds, measure, "given by hand")
    if budget_mmacs is not None:
        row = _within_budget(budget_rows, budget_mmacs)
        words = f"the most accurate budget of at most {budget_mmacs:g} million MACs"
    else:
        drop = DEFAULT_ACCURACY_DROP if accuracy_drop is None else accuracy_drop
        last_exit_percent = anytime_rows[-1].validation_accuracy_percent
        words = f"the cheapest budget that loses at most {drop:g} points against the last exit"
        if accuracy_drop is None:
            row = cheapest_budget(budget_rows, last_exit_percent - drop)
            if row.validation_accuracy_percent < last_exit_percent - drop:
                words = f"the most accurate budget, as all lose more than {drop:g} points"
        else:
            row = _within_drop(budget_rows, last_exit_percent, drop)
    return _point(row, measure, f"{words}, on the validation images")


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
                f"Received: {name}={value}."
            )


def _within_budget(rows, budget_mmacs):
    affordable = [row for row in rows if row.validation_mean_macs <= budget_mmacs * 1e6]
    if not affordable:
        cheapest = min(row.validation_mean_macs for row in rows)
        raise InputError(
            "`budget_mmacs` must be at least that of the report's cheapest budget, "
            f"{cheapest / 1e6:.3g}. Received: budget_mmacs={budget_mmacs:g}."
        )
    return max(
        affordable, key=lambda row: (row.validation_accuracy_percent, -row.validation_mean_macs)
    )


def _within_drop(rows, last_exit_percent, accuracy_drop):
    least_percent = last_exit_percent - accuracy_drop
    accurate = [row for row in rows if row.validation_accuracy_percent >= least_percent]
    if not accurate:
        least = last_exit_percent - max(row.validation_accuracy_percent for row in rows)
        raise InputError(
            "`accuracy_drop` must be at least what the report's most accurate budget loses, "
            f"{least:.2f} points. Received: accuracy_drop={accuracy_drop:g}."
        )
    return min(accurate, key=lambda row: row.validation_mean_macs)


def _point(row, measure, chosen):
    return OperatingPoint(
        thresholds=np.array(row.thresholds, "float32"),
        measure=measure,
        chosen=chosen,
        accuracy_percent=row.accuracy_percent,
        mean_macs=row.mean_macs,
        shares=row.shares,
    )
