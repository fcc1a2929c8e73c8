"""The temperature at which a predictor's probabilities of the resolutions mean what they say."""

import dataclasses

import numpy as np

from tf_adaptive.reports.logits import log_probabilities

# Each 2.5 % from the next.
_TEMPERATURES = np.geomspace(0.05, 20, 241)


@dataclasses.dataclass(frozen=True)
class PredictorCalibration:
    """How likely a predictor makes the labels, at its temperature and at 1.

    An image's label has the probability that the classifier gives it at each resolution, mixed by
    those that the predictor gives the resolutions. What is chosen does not depend on the
    temperature.

    Attributes:
        temperature: what the predictor's logits are divided by.
        nll, nll_before: mean negative log-likelihood of the labels, in nats; with the temperature,
            and without.
    """

    temperature: float
    nll: float
    nll_before: float


def fit_predictor_temperature(preferences, logits, labels):
    """The temperature under which the labels are likeliest, between 0.05 and 20.

    Args:
        preferences: float `(samples, resolutions)`, of `routed_collector`.
        logits: float `(resolutions, samples, classes)`, of the classifier.
        labels: integers `(samples,)`.

    Returns:
        A float.
    """
    of_labels = _of_labels(logits, labels)
    likelihoods = [_nll(preferences, of_labels, temperature) for temperature in _TEMPERATURES]
    return float(_TEMPERATURES[np.argmin(likelihoods)])


def predictor_calibration(temperature, preferences, logits, labels):
    """What a temperature does on other samples than it is of, `PredictorCalibration`.

    Args:
        temperature: what `fit_predictor_temperature` gave.
        preferences, logits, labels: see there.
    """
    of_labels = _of_labels(logits, labels)
    return PredictorCalibration(
        temperature=temperature,
        nll=_nll(preferences, of_labels, temperature),
        nll_before=_nll(preferences, of_labels, 1.0),
    )


def _of_labels(logits, labels):
    """Logarithms of each label's probability at each resolution, `(samples, resolutions)`."""
    chosen = log_probabilities(logits)[:, np.arange(len(labels)), labels]
    return chosen.T


def _nll(preferences, of_labels, temperature):
    mixed = log_probabilities(preferences / temperature) + of_labels
    return -float(np.mean(np.logaddexp.reduce(mixed, axis=-1)))
