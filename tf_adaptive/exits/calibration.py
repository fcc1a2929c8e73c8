"""Temperatures that make the exits' probabilities mean what they say, and how far they do."""

import dataclasses

import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.reports.logits import check_labels, check_logits, log_probabilities

# Bins of equal width of the expected calibration error, as Guo et al. 2017 have them.
BINS = 15

# Logits are divided by no more and no less: without errors there is no best temperature.
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0


@dataclasses.dataclass(frozen=True)
class CalibrationRow:
    """How far one exit's probabilities mean what they say, at its temperature and at 1.

    Attributes:
        exit: counted from 1.
        temperature: what its logits are divided by.
        ece_percent, ece_percent_before: expected calibration error, the mean distance of
            confidence and accuracy over `BINS` bins; with the temperature, and without.
        nll, nll_before: mean negative log-likelihood of the labels, in nats.
        brier, brier_before: mean squared distance of the probabilities from the label, 0 to 2.
        risk_coverage_area_percent: mean error of the surest c of the samples over all c: how well
            the confidence ranks, 0 for an exit whose errors all come last.
    """

    exit: int
    temperature: float
    ece_percent: float
    ece_percent_before: float
    nll: float
    nll_before: float
    brier: float
    brier_before: float
    risk_coverage_area_percent: float


def fit_temperatures(logits, labels):
    """The temperature of each exit whose probabilities make the labels likeliest.

    softmax(z / T) with the T of least mean negative log-likelihood (Guo et al. 2017, section 4.2),
    between `LOWEST_TEMPERATURE` and `HIGHEST_TEMPERATURE`. An exit that is right on all samples
    keeps 1: the smaller T, the likelier its labels, which says nothing of other samples.

    Args:
        logits: float `(exits, samples, classes)`.
        labels: integers `(samples,)`.

    Returns:
        float32 `(exits,)`.

    Raises:
        InputError: shapes that do not fit together, labels that are no class, logits that are not
            finite.

    Example:
        >>> logits = np.float32([[[4, 0], [4, 0], [4, 0], [0, 4]]])
        >>> fit_temperatures(logits, np.array([0, 0, 0, 0]))
        array([3.6409569], dtype=float32)
    """
    check_logits("logits", logits)
    check_labels(labels, logits)
    return np.array([_fit_temperature(exit_logits, labels) for exit_logits in logits], "float32")


def check_represents(labels, num_classes, where):
    """Refuses images to calibrate on that cannot stand for all classes.

    Args:
        labels: integers `(samples,)`.
        num_classes: of the network.
        where: what they are, in words.

    Raises:
        InputError: fewer images than classes, or a class without any.
    """
    if len(labels) < num_classes:
        raise InputError(
            f"{where} must be at least as many as the {num_classes} classes, to calibrate on. "
            f"Received: {len(labels)}."
        )
    absent = sorted(set(range(num_classes)) - set(np.unique(labels).tolist()))
    if absent:
        raise InputError(
            f"{where} must hold images of every class, to calibrate on. Received: none of class "
            f"{absent[0]}{f' and of {len(absent) - 1} others' if len(absent) > 1 else ''}."
        )


def inverse(temperatures):
    """What logits are multiplied by to divide them by temperatures, float32.

    A product is rounded the same everywhere, where compilers make one of a quotient.
    """
    return (1 / np.asarray(temperatures, "float64")).astype("float32")


def calibration_rows(logits, labels, temperatures, confidences):
    """How far the exits' probabilities mean what they say.

    Args:
        logits: float `(exits, samples, classes)`, of other samples than the temperatures are of.
        labels: integers `(samples,)`.
        temperatures: `(exits,)`.
        confidences: `(exits, samples)`, what decides who leaves.

    Returns:
        A list of `CalibrationRow`, one per exit.
    """
    rows = []
    for number, (before, temperature, scale, confidence) in enumerate(
        zip(logits, temperatures, inverse(temperatures), confidences, strict=True), start=1
    ):
        after = before * scale
        right = before.argmax(axis=-1) == labels
        rows.append(
            CalibrationRow(
                exit=number,
                temperature=float(temperature),
                ece_percent=_ece_percent(after, right),
                ece_percent_before=_ece_percent(before, right),
                nll=-float(_log_likelihoods(after, labels).mean()),
                nll_before=-float(_log_likelihoods(before, labels).mean()),
                brier=_brier(after, labels),
                brier_before=_brier(before, labels),
                risk_coverage_area_percent=risk_coverage_area_percent(confidence, right),
            )
        )
    return rows


def reliability(logits, right, bins=BINS):
    """Confidence and accuracy by bins of the largest probability.

    Args:
        logits: float `(samples, classes)`.
        right: bool `(samples,)`.
        bins: how many, of equal width.

    Returns:
        `(counts, confidence, accuracy)` `(bins,)`: samples in each bin, and their means in [0, 1];
        NaN for a bin without any.
    """
    confidence = np.exp(log_probabilities(logits)).max(axis=-1)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(place, values, bins) / counts for values in (confidence, right)]
    return counts, *means


def risk_coverage_area_percent(confidences, right):
    """Mean over all coverages of the error of the surest samples (Geifman et al. 2019).

    Samples of equal confidence share their error.

    Args:
        confidences: floats `(samples,)`.
        right: bool `(samples,)`.

    Example:
        >>> risk_coverage_area_percent([0.9, 0.8], [True, False])
        25.0
    """
    surest_first = np.argsort(-np.asarray(confidences), kind="stable")
    _, place, counts = np.unique(
        -np.asarray(confidences)[surest_first], return_inverse=True, return_counts=True
    )
    wrong = ~np.asarray(right, bool)[surest_first]
    shared = (np.bincount(place, wrong) / counts)[place]
    return 100 * float(np.mean(np.cumsum(shared) / np.arange(1, len(shared) + 1)))


def _fit_temperature(logits, labels):
    """See `fit_temperatures`; Newton's steps in 1 / T, in which the likelihood is convex."""
    logits = np.asarray(logits, "float64")
    if np.all(logits.argmax(axis=-1) == labels):
        return 1.0
    of_label = logits[np.arange(len(labels)), labels]
    low, high, scale = 1 / HIGHEST_TEMPERATURE, 1 / LOWEST_TEMPERATURE, 1.0
    for _ in range(60):
        probabilities = np.exp(log_probabilities(scale * logits))
        means = (probabilities * logits).sum(axis=-1)
        slope = np.mean(means - of_label)
        curvature = np.mean((probabilities * logits**2).sum(axis=-1) - means**2)
        low, high = (low, scale) if slope > 0 else (scale, high)
        step = scale - slope / curvature if curvature > 0 else 0.0
        last, scale = scale, step if low < step < high else np.sqrt(low * high)
        if abs(scale - last) < 1e-7 * last:
            break
    return 1 / scale


def _log_likelihoods(logits, labels):
    return log_probabilities(logits)[np.arange(len(labels)), labels]


def _brier(logits, labels):
    distances = np.exp(log_probabilities(logits))
    distances[np.arange(len(labels)), labels] -= 1
    return float(np.mean(np.sum(distances**2, axis=-1)))


def _ece_percent(logits, right):
    counts, confidence, accuracy = reliability(logits, right)
    distances = np.abs(np.nan_to_num(confidence) - np.nan_to_num(accuracy))
    return 100 * float(counts @ distances / counts.sum())
