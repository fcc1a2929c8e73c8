"""The temperature at which a predictor's probabilities of the resolutions mean what they say."""

import dataclasses

import numpy as np
import tensorflow as tf

from tf_adaptive.routing.dispatch import logits_at

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


def collect_preferences(model, batches):
    """The predictor's logits for every sample.

    Args:
        model: `tf_adaptive.DRNet`.
        batches: an iterable of `(images, labels)`, see `collect_routed`.

    Returns:
        float32 `(samples, resolutions)`, in the order of `model.resolutions`.
    """
    prefer = tf.function(
        lambda images: logits_at(model.predictor, images, model.predictor_resolution),
        input_signature=[tf.TensorSpec((None, *model.input_shape[1:]))],
    )
    return np.concatenate([prefer(images).numpy() for images, _ in batches])


def fit_predictor_temperature(preferences, logits, labels):
    """The temperature under which the labels are likeliest, between 0.05 and 20.

    Args:
        preferences: float `(samples, resolutions)`, of `collect_preferences`.
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
    chosen = _log_softmax(logits)[:, np.arange(len(labels)), labels]
    return chosen.T


def _nll(preferences, of_labels, temperature):
    mixed = _log_softmax(preferences / temperature) + of_labels
    return -float(np.mean(np.logaddexp.reduce(mixed, axis=-1)))


def _log_softmax(logits):
    logits = np.asarray(logits, "float64")
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
