"""Accuracy at every exit and at every budget, from logits collected once.

Following Huang et al. 2018 (MSDNet): *anytime* prediction asks one exit for every sample;
*budgeted batch classification* lets each sample leave at the first exit that is sure enough.
"""

import dataclasses

import numpy as np

from tf_adaptive.errors import InputError
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
        validation_accuracy_percent: top-1 on the validation samples; None without any.
    """

    exit: int
    macs: int
    lazy_macs: int
    parameters: int
    accuracy_percent: float
    validation_accuracy_percent: float | None = None


@dataclasses.dataclass(frozen=True)
class BudgetRow:
    """Every sample leaving at the first exit that is sure enough.

    Attributes:
        p: the budget's parameter, see `exit_fractions`.
        mean_macs: multiply-accumulates per sample, the papers' convention, rounded.
        mean_lazy_macs: those that staged execution really computes, rounded.
        accuracy_percent: top-1.
        shares: `(exits,)`, the fraction of samples that left at each exit.
        thresholds: `(exits - 1,)`, float32 confidences.
        validation_accuracy_percent, validation_mean_macs: the same on the validation samples, to
            choose a budget by; without their labels, the percentage that the last exit says too.
    """

    p: float
    mean_macs: int
    mean_lazy_macs: int
    accuracy_percent: float
    shares: tuple[float, ...]
    thresholds: tuple[np.float32, ...]
    validation_accuracy_percent: float | None = None
    validation_mean_macs: int | None = None


def confidences_of_exits(logits, measure="max_probability"):
    """Confidence of each exit in each sample, float32 `(exits, samples)`.

    Args:
        logits: `(exits, samples, classes)`.
        measure: see `confidence_scores`.
    """
    # Exit by exit: at 1,000 classes the probabilities of all exits at once are gigabytes.
    return np.stack([np.asarray(confidence_scores(exit, measure)) for exit in logits])


def anytime(logits, labels, costs, *, validation_logits=None, validation_labels=None):
    """The accuracy and cost of each exit when it answers every sample.

    Args:
        logits: float `(exits, samples, classes)`.
        labels: integers `(samples,)`.
        costs: one row per exit with `.macs`, `.lazy_macs` and `.parameters`.
        validation_logits, validation_labels: see `budgeted`.

    Returns:
        A list of `AnytimeRow`, one per exit.

    Raises:
        InputError: shapes that do not fit together, labels that are no class, logits that
            are not finite.
    """
    check_logits("logits", logits)
    check_labels(labels, logits)
    _check_costs(costs, logits)
    validated = [None] * len(logits)
    if validation_logits is not None:
        right = _right_in_validation(validation_logits, validation_labels)
        validated = list(map(percent, right))
    return [
        AnytimeRow(
            exit=number,
            macs=cost.macs,
            lazy_macs=cost.lazy_macs,
            parameters=cost.parameters,
            accuracy_percent=percent(exit_logits.argmax(axis=-1) == labels),
            validation_accuracy_percent=validation_percent,
        )
        for number, (exit_logits, cost, validation_percent) in enumerate(
            zip(logits, costs, validated, strict=True), start=1
        )
    ]


def budgeted(
    validation_logits,
    test_logits,
    test_labels,
    costs,
    measure="max_probability",
    *,
    validation_labels=None,
):
    """The accuracy and mean cost at each budget `p` = 1/20, 2/20, …, 39/20.

    Thresholds come from the validation samples, and so do the two numbers that a budget is chosen
    by; everything else is measured on the test samples. All budgets of a network with one exit are
    the same: it has one row, of `p` = 1.

    Args:
        validation_logits: float `(exits, samples, classes)`.
        test_logits: float `(exits, samples, classes)`, of other samples.
        test_labels: integers `(samples,)`.
        costs: one row per exit with `.macs` and `.lazy_macs`.
        measure: see `confidence_scores`.
        validation_labels: integers, a class for each validation sample; None where they are not
            known: what the last exit says counts as right then.

    Returns:
        A list of `BudgetRow`, one per `p`, in order.

    Raises:
        InputError: unknown `measure`, shapes that do not fit together, labels that are no
            class, logits that are not finite.
    """
    check_logits("validation_logits", validation_logits)
    check_logits("test_logits", test_logits)
    check_labels(test_labels, test_logits)
    _check_costs(costs, test_logits)
    num_exits, num_samples, _ = test_logits.shape
    if validation_logits.shape[::2] != test_logits.shape[::2]:
        raise InputError(
            "`validation_logits` must have the exits and classes of `test_logits`. "
            f"Received: shapes {validation_logits.shape} and {test_logits.shape}."
        )
    validation_confidences = confidences_of_exits(validation_logits, measure)
    test_confidences = confidences_of_exits(test_logits, measure)
    right = test_logits.argmax(axis=-1) == test_labels
    right_in_validation = _right_in_validation(validation_logits, validation_labels)
    macs = np.array([cost.macs for cost in costs], "float64")
    lazy_macs = np.array([cost.lazy_macs for cost in costs], "float64")

    rows = []
    for p in BUDGETS if num_exits > 1 else (1.0,):
        fractions = exit_fractions(p, num_exits)
        thresholds = thresholds_for_budget(validation_confidences, fractions)
        exits, shares = exits_and_shares(test_confidences, thresholds)
        validation_exits, validation_shares = exits_and_shares(validation_confidences, thresholds)
        rows.append(
            BudgetRow(
                p=p,
                mean_macs=round(float(shares @ macs)),
                mean_lazy_macs=round(float(shares @ lazy_macs)),
                accuracy_percent=percent(right[exits - 1, np.arange(num_samples)]),
                shares=tuple(shares.tolist()),
                thresholds=tuple(thresholds),
                validation_accuracy_percent=percent(
                    right_in_validation[validation_exits - 1, np.arange(len(validation_exits))]
                ),
                validation_mean_macs=round(float(validation_shares @ macs)),
            )
        )
    return rows


def cheapest_budget(budget_rows, accuracy_percent):
    """The cheapest budget that is at least this accurate, else the most accurate one.

    Both by the validation samples.

    Args:
        budget_rows: what `budgeted` gave.
        accuracy_percent: the accuracy wanted on the validation samples.

    Returns:
        One of the rows.
    """
    accurate = [row for row in budget_rows if row.validation_accuracy_percent >= accuracy_percent]
    if accurate:
        return min(accurate, key=lambda row: row.validation_mean_macs)
    return max(budget_rows, key=lambda row: row.validation_accuracy_percent)


def exits_and_shares(confidences, thresholds):
    """Where samples leave.

    Args:
        confidences, thresholds: see `choose_exits`.

    Returns:
        `(exits, shares)`: the exit of each sample, from 1, and `(exits,)`, the share at each.
    """
    exits = choose_exits(confidences, thresholds)
    return exits, np.bincount(exits - 1, minlength=len(confidences)) / len(exits)


def _right_in_validation(logits, labels):
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
