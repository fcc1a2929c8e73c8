"""Accuracy at every exit and at every budget, from logits collected once.

Following Huang et al. 2018 (MSDNet): *anytime* prediction asks one exit for every sample;
*budgeted batch classification* lets each sample leave at the first exit that is sure enough.
"""

import dataclasses

import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.exits.calibration import inverse
from tf_adaptive.exits.promise import LossCounts
from tf_adaptive.exits.threshold_search import search_thresholds
from tf_adaptive.exits.thresholds import (
    choose_exits,
    confidence_scores,
    exit_fractions,
    thresholds_for_budget,
)
from tf_adaptive.reports.logits import check_labels, check_logits, percent

# p of q_k ∝ p^k, from nearly everyone at the first exit to most at the last.
BUDGETS = tuple(step / 20 for step in range(1, 40))


@dataclasses.dataclass(frozen=True)
class AnytimeRow:
    """One exit answering every sample.

    Attributes:
        exit: counted from 1.
        macs: multiply-accumulates up to this exit, the papers' convention.
        lazy_macs: those that staged execution really computes.
        parameters: parameters up to this exit.
        accuracy_percent: top-1.
        calibration_accuracy_percent: top-1 on the calibration samples; None without any.
    """

    exit: int
    macs: int
    lazy_macs: int
    parameters: int
    accuracy_percent: float
    calibration_accuracy_percent: float | None = None


@dataclasses.dataclass(frozen=True)
class BudgetRow:
    """Every sample leaving at the first exit that is sure enough.

    Attributes:
        p: the budget's parameter, see `exit_fractions`; None of thresholds that have none.
        mean_macs: multiply-accumulates per sample, the papers' convention, rounded.
        mean_lazy_macs: those that staged execution really computes, rounded.
        accuracy_percent: top-1.
        shares: `(exits,)`, the fraction of samples that left at each exit.
        thresholds: `(exits - 1,)`, float32 confidences.
        calibration_accuracy_percent, calibration_mean_macs, calibration_shares: the same on the
            calibration samples, to choose a budget by; without their labels, the percentage that
            the last exit says too.
    """

    p: float | None
    mean_macs: int
    mean_lazy_macs: int
    accuracy_percent: float
    shares: tuple[float, ...]
    thresholds: tuple[np.float32, ...]
    calibration_accuracy_percent: float | None = None
    calibration_mean_macs: int | None = None
    calibration_shares: tuple[float, ...] | None = None


def confidences_of_exits(logits, measure="max_probability", temperatures=None):
    """Confidence of each exit in each sample, float32 `(exits, samples)`.

    Args:
        logits: `(exits, samples, classes)`.
        measure: see `confidence_scores`.
        temperatures: `(exits,)`, what the logits are divided by; None for 1.
    """
    scales = [None] * len(logits) if temperatures is None else inverse(temperatures)
    # Exit by exit: at 1,000 classes the probabilities of all exits at once are gigabytes.
    return np.stack(
        [
            np.asarray(confidence_scores(exit if scale is None else exit * scale, measure))
            for exit, scale in zip(logits, scales, strict=True)
        ]
    )


def anytime(logits, labels, costs, *, calibration_logits=None, calibration_labels=None):
    """The accuracy and cost of each exit when it answers every sample.

    Args:
        logits: float `(exits, samples, classes)`.
        labels: integers `(samples,)`.
        costs: one row per exit with `.macs`, `.lazy_macs` and `.parameters`.
        calibration_logits, calibration_labels: see `at_thresholds`.

    Returns:
        A list of `AnytimeRow`, one per exit.

    Raises:
        InputError: shapes that do not fit together, labels that are no class, logits that
            are not finite.
    """
    check_logits("logits", logits)
    check_labels(labels, logits)
    _check_costs(costs, logits)
    calibrated = [None] * len(logits)
    if calibration_logits is not None:
        calibrated = list(map(percent, right_by_labels(calibration_logits, calibration_labels)))
    return [
        AnytimeRow(
            exit=number,
            macs=cost.macs,
            lazy_macs=cost.lazy_macs,
            parameters=cost.parameters,
            accuracy_percent=percent(exit_logits.argmax(axis=-1) == labels),
            calibration_accuracy_percent=calibration_percent,
        )
        for number, (exit_logits, cost, calibration_percent) in enumerate(
            zip(logits, costs, calibrated, strict=True), start=1
        )
    ]


def sweep(logits, measure="max_probability", temperatures=None):
    """The papers' thresholds: those of each budget `p` = 1/20, 2/20, …, 39/20.

    All budgets of a network with one exit are the same: it has one, of `p` = 1.

    Args:
        logits: float `(exits, samples, classes)`.
        measure, temperatures: see `confidences_of_exits`.

    Returns:
        Dictionary from p to `(exits - 1,)`.
    """
    return _sweep(confidences_of_exits(logits, measure, temperatures))


def _sweep(confidences):
    num_exits = len(confidences)
    return {
        p: thresholds_for_budget(confidences, exit_fractions(p, num_exits))
        for p in (BUDGETS if num_exits > 1 else (1.0,))
    }


def searched(logits, labels, costs, measure="max_probability", temperatures=None):
    """Thresholds that are searched jointly, never worse on these samples than the sweep's.

    Args:
        logits: float `(exits, samples, classes)`.
        labels: integers `(samples,)`; None where they are not known: what the last exit says counts
            as right then.
        costs: one row per exit with `.macs`.
        measure, temperatures: see `confidences_of_exits`.

    Returns:
        List of float32 `(exits - 1,)`, from the cheapest to the dearest.

    Raises:
        InputError: unknown `measure`, a wrong number of costs.
    """
    _check_costs(costs, logits)
    confidences = confidences_of_exits(logits, measure, temperatures)
    starts = list(_sweep(confidences).values())
    if len(logits) == 1:
        return starts
    return search_thresholds(
        confidences,
        right_by_labels(logits, labels),
        [cost.macs for cost in costs],
        starts,
    )


def nested_from_safest(budgets):
    """A family in which what leaves at one member's exits leaves no later at the next's.

    Args:
        budgets: what `sweep` gave.

    Returns:
        List of `(p, thresholds)`, from the safest to the cheapest.
    """
    rising = np.maximum.accumulate([budgets[p] for p in sorted(budgets)], axis=0)
    return list(zip(sorted(budgets), rising, strict=True))[::-1]


def exits_along(logits, family, measure="max_probability", temperatures=None):
    """Where samples leave at each of several thresholds, ints `(members, samples)`, from 1.

    Args:
        logits: float `(exits, samples, classes)`.
        family: a list of thresholds, see `choose_exits`.
        measure, temperatures: see `confidences_of_exits`.
    """
    confidences = confidences_of_exits(logits, measure, temperatures)
    return np.stack([choose_exits(confidences, thresholds) for thresholds in family])


def losses(logits, labels, exits):
    """How the answers of early exit differ from the last exit's, sample by sample.

    Args:
        logits: float `(exits, samples, classes)`.
        labels: integers `(samples,)`; None where they are not known.
        exits: what `exits_along` gave.

    Returns:
        `(spoiled, mended, differing)`, bool `(members, samples)` each, as `LossCounts` counts
        them; the first two None without labels.
    """
    predicted = logits.argmax(axis=-1)
    answer, last = of_exits(predicted, exits), predicted[-1]
    if labels is None:
        return None, None, answer != last
    was_right, is_right = last == labels, answer == labels
    return was_right & ~is_right, is_right & ~was_right, answer != last


def loss_counts(logits, labels, family, measure="max_probability", temperatures=None):
    """How many answers of early exit differ from the last exit's, a list of `LossCounts`.

    Args:
        logits, labels: see `losses`.
        family, measure, temperatures: see `exits_along`.
    """
    exits = exits_along(logits, family, measure, temperatures)
    counts = [
        [None] * len(exits) if each is None else np.count_nonzero(each, axis=1).tolist()
        for each in losses(logits, labels, exits)
    ]
    return [LossCounts(exits.shape[1], *each) for each in zip(*counts, strict=True)]


def at_thresholds(
    family,
    calibration_logits,
    test_logits,
    test_labels,
    costs,
    measure="max_probability",
    *,
    calibration_labels=None,
    temperatures=None,
):
    """What thresholds give: on calibration samples, to choose some by, and on test samples.

    Args:
        family: list of `(p, thresholds)`, p None of those that have none.
        calibration_logits: float `(exits, samples, classes)`.
        test_logits: float `(exits, samples, classes)`, of other samples.
        test_labels: integers `(samples,)`.
        costs: one row per exit with `.macs` and `.lazy_macs`.
        measure, temperatures: see `confidences_of_exits`.
        calibration_labels: integers, a class for each calibration sample; None where they are not
            known: what the last exit says counts as right then.

    Returns:
        A list of `BudgetRow`, in the order of `family`.

    Raises:
        InputError: unknown `measure`, shapes that do not fit together, labels that are no
            class, logits that are not finite.
    """
    check_logits("calibration_logits", calibration_logits)
    check_logits("test_logits", test_logits)
    check_labels(test_labels, test_logits)
    _check_costs(costs, test_logits)
    if calibration_logits.shape[::2] != test_logits.shape[::2]:
        raise InputError(
            "`calibration_logits` must have the exits and classes of `test_logits`. "
            f"Received: shapes {calibration_logits.shape} and {test_logits.shape}."
        )
    calibration_confidences = confidences_of_exits(calibration_logits, measure, temperatures)
    test_confidences = confidences_of_exits(test_logits, measure, temperatures)
    right = right_by_labels(test_logits, test_labels)
    calibration_right = right_by_labels(calibration_logits, calibration_labels)
    macs = np.array([cost.macs for cost in costs], "float64")
    lazy_macs = np.array([cost.lazy_macs for cost in costs], "float64")
    rows = []
    for p, thresholds in family:
        exits, shares = exits_and_shares(test_confidences, thresholds)
        calibration_exits, calibration_shares = exits_and_shares(
            calibration_confidences, thresholds
        )
        rows.append(
            BudgetRow(
                p=p,
                mean_macs=round(float(shares @ macs)),
                mean_lazy_macs=round(float(shares @ lazy_macs)),
                accuracy_percent=percent(of_exits(right, exits)),
                shares=tuple(shares.tolist()),
                thresholds=tuple(thresholds),
                calibration_accuracy_percent=percent(
                    of_exits(calibration_right, calibration_exits)
                ),
                calibration_mean_macs=round(float(calibration_shares @ macs)),
                calibration_shares=tuple(calibration_shares.tolist()),
            )
        )
    return rows


def cheapest_budget(budget_rows, accuracy_percent):
    """The cheapest budget that is at least this accurate, else the most accurate one.

    Both by the calibration samples.

    Args:
        budget_rows: what `at_thresholds` gave.
        accuracy_percent: the accuracy wanted on the calibration samples.

    Returns:
        One of the rows.
    """
    accurate = [row for row in budget_rows if row.calibration_accuracy_percent >= accuracy_percent]
    if accurate:
        return min(accurate, key=lambda row: row.calibration_mean_macs)
    return max(budget_rows, key=lambda row: row.calibration_accuracy_percent)


def exits_and_shares(confidences, thresholds):
    """Where samples leave.

    Args:
        confidences, thresholds: see `choose_exits`.

    Returns:
        `(exits, shares)`: the exit of each sample, from 1, and `(exits,)`, the share at each.
    """
    exits = choose_exits(confidences, thresholds)
    return exits, np.bincount(exits - 1, minlength=len(confidences)) / len(exits)


def of_exits(values, exits):
    """Of values `(exits, samples)`, those of the exits `(..., samples)`, counted from 1."""
    return values[exits - 1, np.arange(values.shape[1])]


def right_by_labels(logits, labels):
    """Whether each exit is right, bool `(exits, samples)`; by the last one without labels."""
    predicted = logits.argmax(axis=-1)
    if labels is None:
        return predicted == predicted[-1]
    check_labels(labels, logits)
    return predicted == labels


def _check_costs(costs, logits):
    if len(costs) != len(logits):
        raise InputError(
            f"`costs` must hold a row for each of the {len(logits)} exits of the logits. "
            f"Received: {len(costs)} rows."
        )
