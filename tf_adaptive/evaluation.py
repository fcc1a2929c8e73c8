"""Accuracy at every exit and at every budget, from logits collected once.

Following Huang et al. 2018 (MSDNet): *anytime* prediction asks one exit for every sample;
*budgeted batch classification* lets each sample leave at the first exit that is sure enough.
"""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from tf_adaptive.errors import InputError
from tf_adaptive.exits.logits import exits_as_logits
from tf_adaptive.policies import (
    choose_exits,
    confidence_scores,
    exit_fractions,
    thresholds_for_budget,
)

# p of q_k ∝ p^k, from nearly everyone at the first exit to most at the last.
BUDGETS = tuple(step / 20 for step in range(1, 40))

# Standard deviations of a normal distribution on either side that hold 95 % of it.
NORMAL_95 = 1.96


@dataclasses.dataclass(frozen=True)
class AnytimeRow:
    """One exit answering every sample.

    Attributes:
        exit: counted from 1.
        macs: multiply-accumulates up to this exit, the papers' convention.
        lazy_macs: those that staged execution really computes.
        parameters: parameters up to this exit.
        accuracy_percent: top-1.
    """

    exit: int
    macs: int
    lazy_macs: int
    parameters: int
    accuracy_percent: float


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
    """

    p: float
    mean_macs: int
    mean_lazy_macs: int
    accuracy_percent: float
    shares: tuple[float, ...]
    thresholds: tuple[np.float32, ...]


def collect_logits(model, batches):
    """The logits of every exit for every sample, in the order of `batches`.

    Args:
        model: a functional model with one image input and a list of K outputs
            `(batch, classes)`, cheapest exit first; one alone may come without a list. A softmax
            or a sigmoid at their end is taken off, with a warning.
        batches: an iterable of `(images, labels)`: `(batch, height, width, channels)` and
            integers `(batch,)`.

    Returns:
        `(logits, labels)`: float32 `(exits, samples, classes)` and int64 `(samples,)`.

    Raises:
        InputError: a model with several inputs, outputs of different class counts, or no
            batches.
    """
    shapes = [tuple(output.shape) for output in model.outputs]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2:
        raise InputError(
            "`model` must have outputs that are all (batch, classes) with the same class count. "
            f"Received: output shapes {shapes}."
        )
    if len(model.inputs) != 1:
        raise InputError(
            f"`model` must have one input, the images. Received: {len(model.inputs)} inputs."
        )
    images = model.inputs[0]
    model = exits_as_logits(model)

    # An open batch axis: one trace serves the last, smaller batch too.
    @tf.function(input_signature=[tf.TensorSpec((None, *images.shape[1:]), images.dtype)])
    def predict(images):
        exits = keras.tree.flatten(model(images, training=False))
        return tf.stack([tf.cast(exit, tf.float32) for exit in exits])

    logits, labels = [], []
    for batch_images, batch_labels in batches:
        logits.append(predict(batch_images).numpy())
        labels.append(np.asarray(batch_labels, "int64"))
    if not logits:
        raise InputError("`batches` must hold at least one batch. Received: none.")
    return np.concatenate(logits, axis=1), np.concatenate(labels)


def confidences_of_exits(logits, measure="max_probability"):
    """Confidence of each exit in each sample, float32 `(exits, samples)`.

    Args:
        logits: `(exits, samples, classes)`.
        measure: see `confidence_scores`.
    """
    # Exit by exit: at 1,000 classes the probabilities of all exits at once are gigabytes.
    return np.stack([np.asarray(confidence_scores(exit, measure)) for exit in logits])


def anytime(logits, labels, costs):
    """The accuracy and cost of each exit when it answers every sample.

    Args:
        logits: float `(exits, samples, classes)`.
        labels: integers `(samples,)`.
        costs: one row per exit with `.macs`, `.lazy_macs` and `.parameters`.

    Returns:
        A list of `AnytimeRow`, one per exit.

    Raises:
        InputError: shapes that do not fit together, labels that are no class, logits that
            are not finite.
    """
    check_logits("logits", logits)
    check_labels(labels, logits)
    _check_costs(costs, logits)
    return [
        AnytimeRow(
            exit=number,
            macs=cost.macs,
            lazy_macs=cost.lazy_macs,
            parameters=cost.parameters,
            accuracy_percent=percent(exit_logits.argmax(axis=-1) == labels),
        )
        for number, (exit_logits, cost) in enumerate(zip(logits, costs, strict=True), start=1)
    ]


def budgeted(validation_logits, test_logits, test_labels, costs, measure="max_probability"):
    """The accuracy and mean cost at each budget `p` = 1/20, 2/20, …, 39/20.

    Thresholds come from the validation samples; everything reported is measured on the test
    samples. All budgets of a network with one exit are the same: it has one row, of `p` = 1.

    Args:
        validation_logits: float `(exits, samples, classes)`.
        test_logits: float `(exits, samples, classes)`, of other samples.
        test_labels: integers `(samples,)`.
        costs: one row per exit with `.macs` and `.lazy_macs`.
        measure: see `confidence_scores`.

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
    macs = np.array([cost.macs for cost in costs], "float64")
    lazy_macs = np.array([cost.lazy_macs for cost in costs], "float64")

    rows = []
    for p in BUDGETS if num_exits > 1 else (1.0,):
        fractions = exit_fractions(p, num_exits)
        thresholds = thresholds_for_budget(validation_confidences, fractions)
        exits = choose_exits(test_confidences, thresholds)
        shares = np.bincount(exits - 1, minlength=num_exits) / num_samples
        rows.append(
            BudgetRow(
                p=p,
                mean_macs=round(float(shares @ macs)),
                mean_lazy_macs=round(float(shares @ lazy_macs)),
                accuracy_percent=percent(right[exits - 1, np.arange(num_samples)]),
                shares=tuple(shares.tolist()),
                thresholds=tuple(thresholds),
            )
        )
    return rows


def cheapest_budget(budget_rows, accuracy_percent):
    """The cheapest budget that is at least this accurate, else the most accurate one.

    Args:
        budget_rows: what `budgeted` gave.
        accuracy_percent: the accuracy wanted.

    Returns:
        One of the rows.
    """
    accurate = [row for row in budget_rows if row.accuracy_percent >= accuracy_percent]
    if accurate:
        return min(accurate, key=lambda row: row.mean_macs)
    return max(budget_rows, key=lambda row: row.accuracy_percent)


def percent(right):
    """Top-1 accuracy in percent of a bool array."""
    return 100.0 * float(np.mean(right))


def accuracy_interval(accuracy_percent, samples):
    """Between what an accuracy lies on all images, as far as a sample of them can say.

    The 95 % interval of Wilson (1927), which also holds for few images and near 100 %.

    Args:
        accuracy_percent: top-1 on the sample.
        samples: how many images that is of, 1 or more.

    Returns:
        `(low, high)` in percent.

    Example:
        >>> accuracy_interval(90.0, 100)
        (82.56..., 94.47...)
    """
    share, squared = accuracy_percent / 100, NORMAL_95**2
    middle = share + squared / (2 * samples)
    margin = NORMAL_95 * math.sqrt(share * (1 - share) / samples + squared / (4 * samples**2))
    scale = 100 / (1 + squared / samples)
    # Rounding may lead out of the range.
    return max(0.0, scale * (middle - margin)), min(100.0, scale * (middle + margin))


def check_logits(argument, logits, networks="exits", *, least=1):
    """Refuses logits that are not `(networks, samples, classes)` or not finite."""
    shape = np.shape(logits)
    if len(shape) != 3 or shape[0] < least or shape[1] < 1 or shape[2] < 2:
        raise InputError(
            f"`{argument}` must be ({networks}, samples, classes) with at least {least} "
            f"{networks}, 1 sample and 2 classes. Received: shape={shape}."
        )
    if not np.all(np.isfinite(logits)):
        raise InputError(
            f"`{argument}` must be finite numbers: has the training diverged? "
            f"Received: {np.count_nonzero(~np.isfinite(logits))} that are not."
        )


def check_labels(labels, logits):
    """Refuses labels that are not one class of the logits for each of their samples."""
    _, num_samples, num_classes = logits.shape
    labels = np.asarray(labels)
    if labels.shape != (num_samples,) or labels.dtype.kind not in "iu":
        raise InputError(
            f"Labels must be {num_samples} integers, one per sample of the logits. "
            f"Received: shape={labels.shape}, dtype={labels.dtype}."
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(
            f"Labels must be in [0, {num_classes}), the classes of the logits. "
            f"Received: labels from {labels.min()} to {labels.max()}."
        )


def _check_costs(costs, logits):
    if len(costs) != len(logits):
        raise InputError(
            f"`costs` must hold a row for each of the {len(logits)} exits of the logits. "
            f"Received: {len(costs)} rows."
        )
