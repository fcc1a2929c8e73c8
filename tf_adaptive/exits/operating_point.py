"""Where a network with exits is run: its thresholds, what chose them, and what they give."""

import dataclasses

import numpy as np

from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.exits.calibration import inverse
from tf_adaptive.exits.evaluation import AnytimeRow, BudgetRow, cheapest_budget
from tf_adaptive.exits.latency import LatencyRow, mean_ms, percentile_95_ms
from tf_adaptive.exits.promise import LossCounts, Promise, last_promised, smallest_risk
from tf_adaptive.exits.thresholds import NEVER, check_thresholds

# Where nothing else is asked for.
DEFAULT_ACCURACY_DROP = 0.5
DEFAULT_CONFIDENCE = 0.95

METHODS = ("sweep", "optimal")

_TIMES = {
    "mean": (mean_ms, "mean of the images"),
    "percentile_95": (percentile_95_ms, "95th percentile of the images"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class OperatingPoint:
    """Thresholds, and what they were measured to give.

    Attributes:
        thresholds: float32 `(exits - 1,)`; `NEVER`, infinite, of exits that nobody leaves at.
        measure: confidence that they are of, see `confidence_scores`.
        chosen: how they were chosen, in words.
        temperatures: float32 `(exits,)`, what the logits of each exit are divided by before its
            confidence and probabilities; None for 1.
        accuracy_percent: top-1 on the test images; None where it was not measured.
        mean_macs: mean multiply-accumulates per test image; None where it was not measured.
        mean_ms, percentile_95_ms: milliseconds per test image, of times that were measured
            somewhere; None where none were.
        shares: `(exits,)`, the fraction of the test images that left at each exit; None where it
            was not measured.
        promise: `Promise`; None where none was asked for.
        family: `(thresholds, disagreement)` of each member of the promise's family, from the safest
            to these thresholds: how often it differs from the last exit at most, as the calibration
            images show with the promise's confidence. None without a promise.
        enabled_exits: numbers of the exits that are on, from 1, the last among them: what is run,
            exported and converted has the others not at all. None for all.

    Example:
        >>> point = ta.OperatingPoint(np.float32([0.9, 0.8]), "max_probability", "given by hand")
        >>> point.description()["thresholds"]
        [0.9, 0.8]
    """

    thresholds: np.ndarray
    measure: str
    chosen: str
    temperatures: np.ndarray | None = None
    accuracy_percent: float | None = None
    mean_macs: int | None = None
    shares: tuple[float, ...] | None = None
    mean_ms: float | None = None
    percentile_95_ms: float | None = None
    promise: Promise | None = None
    family: tuple | None = None
    enabled_exits: tuple[int, ...] | None = None

    def __post_init__(self):
        num_exits = len(self.thresholds) + 1
        enabled = range(1, num_exits + 1) if self.enabled_exits is None else self.enabled_exits
        if not set(enabled) <= set(range(1, num_exits + 1)):
            raise InputError(
                f"`enabled_exits` must be numbers of exits, from 1 to {num_exits}. "
                f"Received: enabled_exits={list(enabled)}."
            )
        enabled = tuple(sorted({*enabled, num_exits}))
        is_on = np.isin(np.arange(1, num_exits), enabled)
        # Frozen for others.
        object.__setattr__(self, "enabled_exits", enabled)
        object.__setattr__(self, "thresholds", np.where(is_on, self.thresholds, NEVER))

    @property
    def scales(self):
        """What the logits of each exit are multiplied by, float32 `(exits,)`."""
        if self.temperatures is None:
            return np.ones(len(self.thresholds) + 1, "float32")
        return inverse(self.temperatures)

    @classmethod
    def by_hand(cls, thresholds, measure, num_exits, temperatures=None):
        """That of thresholds as somebody wrote them: one of None turns its exit off.

        Args:
            thresholds: see `check_thresholds`.
            measure, temperatures: as for the constructor.
            num_exits: K.
        """
        checked = check_thresholds(thresholds, num_exits)
        on = [number for number in range(1, num_exits) if checked[number - 1] != NEVER]
        return cls(checked, measure, "given by hand", temperatures, enabled_exits=(*on, num_exits))

    def description(self):
        """What stands of it beside a network, a dictionary in values JSON can hold.

        `from_description` reads it.
        """
        return {
            "measure": self.measure,
            "thresholds": _described(self.thresholds),
            "chosen": self.chosen,
            "temperatures": None
            if self.temperatures is None
            else [float(str(temperature)) for temperature in self.temperatures],
            "accuracy_percent": self.accuracy_percent,
            "mean_macs": self.mean_macs,
            "mean_ms": self.mean_ms,
            "percentile_95_ms": self.percentile_95_ms,
            "shares": None if self.shares is None else list(self.shares),
            "promise": None if self.promise is None else dataclasses.asdict(self.promise),
            "family": self.family
            and [
                {"thresholds": _described(thresholds), "disagreement": disagreement}
                for thresholds, disagreement in self.family
            ],
            "enabled_exits": list(self.enabled_exits),
        }

    @classmethod
    def from_description(cls, description, num_exits):
        """The point that stands beside a network.

        Args:
            description: dictionary that holds what `description` gave; what former versions lack
                is None.
            num_exits: K of the network.

        Raises:
            InputError: thresholds that are not K − 1 numbers in [0, 1] or None, or temperatures
                that are not K numbers above 0, or exits that are none.
        """
        temperatures = description.get("temperatures")
        promise = description.get("promise")
        return cls(
            thresholds=check_thresholds(description["thresholds"], num_exits),
            measure=description["measure"],
            chosen=description.get("chosen", ""),
            temperatures=None
            if temperatures is None
            else check_temperatures(temperatures, num_exits),
            accuracy_percent=description.get("accuracy_percent"),
            mean_macs=description.get("mean_macs"),
            mean_ms=description.get("mean_ms"),
            percentile_95_ms=description.get("percentile_95_ms"),
            shares=description.get("shares"),
            promise=None if promise is None else Promise(**promise),
            family=description.get("family")
            and tuple(
                (check_thresholds(each["thresholds"], num_exits), each["disagreement"])
                for each in description["family"]
            ),
            enabled_exits=description.get("enabled_exits"),
        )


@dataclasses.dataclass(frozen=True)
class ExitRows:
    """What the tables of a report say of a network with exits.

    Attributes:
        anytime: a list of `AnytimeRow`, one per exit.
        measure: confidence that all thresholds are of.
        temperatures: float32 `(exits,)`.
        budgets: a list of `BudgetRow`, in order of p.
        optimal: a list of `BudgetRow`, from the cheapest to the dearest.
        family: a list of `(BudgetRow, LossCounts)`, from the safest to the cheapest, of samples
            that did not make the thresholds.
        calibrated_on: the images that budgets are chosen by, in words.
        latencies: a list of `LatencyRow`, one per exit; None where nothing was measured.
    """

    anytime: list[AnytimeRow]
    measure: str
    temperatures: np.ndarray
    budgets: list[BudgetRow]
    optimal: list[BudgetRow]
    family: list[tuple[BudgetRow, LossCounts]]
    calibrated_on: str
    latencies: list[LatencyRow] | None = None


def check_temperatures(temperatures, num_exits):
    """Gives `temperatures` back as a float32 array `(num_exits,)`, or refuses them.

    Raises:
        InputError: not `num_exits` finite numbers above 0.
    """
    try:
        values = np.asarray(temperatures, "float32")
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.shape != (num_exits,) or not np.all((values > 0) & np.isfinite(values)):
        raise InputError(
            f"`temperatures` must be {num_exits} numbers above 0, one for each exit. "
            f"Received: temperatures={temperatures}."
        )
    return values


def choose_operating_point(
    rows,
    *,
    budget_mmacs=None,
    accuracy_drop=None,
    thresholds=None,
    risk=None,
    confidence=None,
    latency_ms=None,
    latency_by="mean",
    method="sweep",
):
    """Thresholds for a budget, for an accuracy, with a promise, or as given; one of them.

    What is chosen, is chosen on the calibration images; what the point says it gives was measured
    on the test images. A network with one exit has no thresholds, and none of these.

    Args:
        rows: `ExitRows`.
        budget_mmacs: millions of multiply-accumulates an image may cost on average: the most
            accurate budget that costs no more.
        accuracy_drop: points below the last exit's accuracy: the cheapest budget that loses no
            more. Where nothing is given, `DEFAULT_ACCURACY_DROP`, or if all lose more than that the
            most accurate budget.
        thresholds: K − 1 numbers in [0, 1], None for an exit that is off.
        risk: the bound of a promise, as 0.01 for one point of accuracy, or where the calibration
            images have no labels for one per cent of other answers than the last exit's: the
            cheapest of a family that is shown to keep it, see `tf_adaptive.exits.promise`.
        confidence: of that promise; None for `DEFAULT_CONFIDENCE`.
        latency_ms: milliseconds that an image may take, by the times that the report has: the most
            accurate budget that takes no more.
        latency_by: which of the images that is of: "mean" or "percentile_95".
        method: which thresholds are chosen among: "sweep", the papers', or "optimal", those that
            were searched jointly too.

    Returns:
        `OperatingPoint`.

    Raises:
        InputError: more than one is given, any for a network with one exit, thresholds that are
            not K − 1 numbers in [0, 1] or None, no such budget, too few images for the promise, or
            no times.
    """
    check_choice("method", method, METHODS)
    check_choice("latency_by", latency_by, tuple(_TIMES))
    choice = {
        "budget_mmacs": budget_mmacs,
        "accuracy_drop": accuracy_drop,
        "thresholds": thresholds,
        "risk": risk,
        "latency_ms": latency_ms,
    }
    given = [name for name, value in choice.items() if value is not None]
    if len(given) > 1:
        raise InputError(
            "At most one of `budget_mmacs`, `accuracy_drop`, `thresholds`, `risk` and "
            f"`latency_ms` must be given. Received: {' and '.join(given)}."
        )
    if confidence is not None and risk is None:
        raise InputError(f"`confidence` must come with `risk`. Received: {confidence} alone.")
    if len(rows.anytime) == 1:
        check_no_operating_point("a network with one exit", **choice)
        return _point(rows.budgets[0], rows, "")
    if thresholds is not None:
        return OperatingPoint.by_hand(
            thresholds, rows.measure, len(rows.anytime), rows.temperatures
        )
    if risk is not None:
        return _promised(rows, risk, DEFAULT_CONFIDENCE if confidence is None else confidence)
    budgets, what = rows.budgets, "budget"
    if method == "optimal":
        # Searched on other images than those that choose, where the sweep's may be better.
        budgets, what = [*rows.optimal, *rows.budgets], "jointly searched thresholds"
    if latency_ms is not None:
        row = _within_latency(budgets, rows.latencies, latency_ms, latency_by)
        words = f"the most accurate {what} of at most {latency_ms:g} ms ({_TIMES[latency_by][1]})"
    elif budget_mmacs is not None:
        row = _within_budget(budgets, budget_mmacs)
        words = f"the most accurate {what} of at most {budget_mmacs:g} million MACs"
    else:
        drop = DEFAULT_ACCURACY_DROP if accuracy_drop is None else accuracy_drop
        last_exit_percent = rows.anytime[-1].calibration_accuracy_percent
        loses = "loses" if method == "sweep" else "lose"
        words = f"the cheapest {what} that {loses} at most {drop:g} points against the last exit"
        if accuracy_drop is None:
            row = cheapest_budget(budgets, last_exit_percent - drop)
            if row.calibration_accuracy_percent < last_exit_percent - drop:
                words = f"the most accurate {what}, as all lose more than {drop:g} points"
        else:
            row = _within_drop(budgets, last_exit_percent, drop)
    return _point(row, rows, f"{words}, on the {rows.calibrated_on}")


def check_no_operating_point(network="a DRNet", *, method=None, latency_by=None, **choice):
    """Refuses what chooses thresholds, where there is a network without any.

    Args:
        network: what it is, in words.
        method, latency_by: what they are says nothing, as they have defaults.
        **choice: "budget_mmacs", "accuracy_drop", "thresholds" and more, as for
            `choose_operating_point`.

    Raises:
        InputError: one of them is given.
    """
    del method, latency_by
    for name, value in choice.items():
        if value is not None:
            raise InputError(
                f"`{name}` must not be given for {network}, which has no thresholds. "
                f"Received: {name}={value}."
            )


def _described(thresholds):
    """Thresholds in values JSON can hold, as short as they read back to the same float32."""
    return [None if threshold == NEVER else float(str(threshold)) for threshold in thresholds]


def _promised(rows, risk, confidence):
    family_counts = [counts for _, counts in rows.family]
    loss = "disagreement" if family_counts[0].spoiled is None else "accuracy_gap"
    place = last_promised(family_counts, risk, confidence, loss)
    promise = Promise(risk, confidence, loss, family_counts[place].images)
    point = _point(rows.family[place][0], rows, "the cheapest of a family that keep a promise")
    family = tuple(
        (np.array(row.thresholds, "float32"), smallest_risk(counts, confidence, "disagreement"))
        for row, counts in rows.family[: place + 1]
    )
    return dataclasses.replace(point, promise=promise, family=family)


def _within_budget(rows, budget_mmacs):
    affordable = [row for row in rows if row.calibration_mean_macs <= budget_mmacs * 1e6]
    if not affordable:
        cheapest = min(row.calibration_mean_macs for row in rows)
        raise InputError(
            "`budget_mmacs` must be at least that of the report's cheapest budget, "
            f"{cheapest / 1e6:.3g}. Received: budget_mmacs={budget_mmacs:g}."
        )
    return max(
        affordable, key=lambda row: (row.calibration_accuracy_percent, -row.calibration_mean_macs)
    )


def _within_latency(rows, latencies, latency_ms, latency_by):
    if latencies is None:
        raise InputError(
            "`latency_ms` must be chosen by measured times: run trainers.evaluate with --latency "
            f"or --latency_csv. Received: latency_ms={latency_ms:g}, and a report without times."
        )
    time_of, _ = _TIMES[latency_by]
    timed = [(time_of(row.calibration_shares, latencies), row) for row in rows]
    affordable = [(time, row) for time, row in timed if time <= latency_ms]
    if not affordable:
        raise InputError(
            "`latency_ms` must be at least that of the report's fastest budget, "
            f"{min(time for time, _ in timed):.3g}. Received: latency_ms={latency_ms:g}."
        )
    return max(affordable, key=lambda each: (each[1].calibration_accuracy_percent, -each[0]))[1]


def _within_drop(rows, last_exit_percent, accuracy_drop):
    least_percent = last_exit_percent - accuracy_drop
    accurate = [row for row in rows if row.calibration_accuracy_percent >= least_percent]
    if not accurate:
        least = last_exit_percent - max(row.calibration_accuracy_percent for row in rows)
        raise InputError(
            "`accuracy_drop` must be at least what the report's most accurate budget loses, "
            f"{least:.2f} points. Received: accuracy_drop={accuracy_drop:g}."
        )
    return min(accurate, key=lambda row: row.calibration_mean_macs)


def _point(row, rows, chosen):
    point = OperatingPoint(
        thresholds=np.array(row.thresholds, "float32"),
        measure=rows.measure,
        chosen=chosen,
        temperatures=rows.temperatures,
        accuracy_percent=row.accuracy_percent,
        mean_macs=row.mean_macs,
        shares=row.shares,
    )
    if rows.latencies is None:
        return point
    return dataclasses.replace(
        point,
        mean_ms=mean_ms(row.shares, rows.latencies),
        percentile_95_ms=percentile_95_ms(row.shares, rows.latencies),
    )
