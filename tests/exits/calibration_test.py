import numpy as np
import pytest
import scipy.optimize
import scipy.special

from tf_adaptive.errors import InputError
from tf_adaptive.exits.calibration import (
    BINS,
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    calibration_rows,
    check_represents,
    fit_temperatures,
    inverse,
    reliability,
    risk_coverage_area_percent,
)


def calibrated(samples=20_000, seed=0):
    """Logits whose softmax is the distribution that the labels are drawn from."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=2, size=(samples, 5)).astype("float32")
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=-1)
    return logits, labels


def test_finds_the_temperature_that_logits_were_sharpened_by():
    logits, labels = calibrated()
    scales = np.float32([0.5, 1, 3])
    temperatures = fit_temperatures(logits * scales[:, None, None], labels)
    assert temperatures.dtype == np.float32
    np.testing.assert_allclose(temperatures, scales, rtol=0.05)


@pytest.mark.parametrize("scale", [0.01, 0.2, 1, 9, 300])
def test_is_the_least_likelihood_of_a_library(scale):
    logits, labels = calibrated(samples=300, seed=1)
    logits = (logits * scale).astype("float32")

    def likelihood(log_temperature):
        logs = scipy.special.log_softmax(logits.astype("float64") / np.exp(log_temperature), -1)
        return -logs[np.arange(300), labels].mean()

    bounds = np.log([LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE])
    expected = scipy.optimize.minimize_scalar(
        likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-8}
    )
    (found,) = fit_temperatures(logits[None], labels)
    np.testing.assert_allclose(found, np.exp(expected.x), rtol=1e-4)


def test_an_exit_without_errors_keeps_its_probabilities():
    logits = 3 * np.eye(4, dtype="float32")[None, [0, 1, 2, 3, 0]]
    assert fit_temperatures(logits, np.array([0, 1, 2, 3, 0])) == [1]


def test_fit_refuses_what_is_not_finite():
    logits, labels = calibrated(samples=50)
    logits[3, 2] = np.nan
    with pytest.raises(InputError, match="`logits` must be finite numbers"):
        fit_temperatures(logits[None], labels)


def test_scaled_logits_have_one_rounding():
    scales = inverse(np.float32([1, 3, 0.7]))
    assert scales.dtype == np.float32 and scales[0] == 1


def test_rows_tell_before_and_after():
    logits, labels = calibrated()
    sharpened = logits[None] * np.float32(3)
    confidences = np.linspace(0, 1, len(labels))[None]
    (row,) = calibration_rows(sharpened, labels, np.float32([3]), confidences)
    probabilities = scipy.special.softmax(logits.astype("float64"), -1)
    of_label = probabilities[np.arange(len(labels)), labels]
    assert row.nll == pytest.approx(-np.log(of_label).mean(), rel=1e-4)
    brier = ((probabilities - np.eye(5)[labels]) ** 2).sum(-1).mean()
    assert row.brier == pytest.approx(brier, rel=1e-4)
    assert row.ece_percent < 1.5 < 10 < row.ece_percent_before
    assert row.nll < row.nll_before and row.brier < row.brier_before
    right = sharpened[0].argmax(-1) == labels
    assert row.risk_coverage_area_percent == risk_coverage_area_percent(confidences[0], right)


def test_reliability_by_hand():
    probabilities = np.array([[0.99, 0.01], [0.95, 0.05], [0.6, 0.4], [0.4, 0.6]])
    counts, confidence, accuracy = reliability(np.log(probabilities), [True, False, True, True], 10)
    assert counts.tolist() == [0] * 6 + [2, 0, 0, 2]
    np.testing.assert_allclose(confidence[[6, 9]], [0.6, 0.97])
    np.testing.assert_allclose(accuracy[[6, 9]], [1.0, 0.5])
    assert np.isnan(confidence[0])
    assert len(reliability(np.log(probabilities), [True] * 4)[0]) == BINS


def test_risk_coverage_by_hand():
    # Errors at places 2 and 4 of four: risks 0, 1/2, 1/3, 2/4.
    area = risk_coverage_area_percent([0.9, 0.8, 0.7, 0.6], [True, False, True, False])
    assert area == pytest.approx(100 * (0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    # Where nothing ranks, every coverage has the error of all.
    assert risk_coverage_area_percent([0.5] * 4, [True, False, True, False]) == pytest.approx(50)


def test_images_must_stand_for_all_classes():
    check_represents(np.array([0, 1, 2]), 3, "The images")
    with pytest.raises(InputError, match="at least as many as the 4 classes.*Received: 3"):
        check_represents(np.array([0, 1, 2]), 4, "The images")
    with pytest.raises(InputError, match="every class.*none of class 1 and of 1 others"):
        check_represents(np.array([0, 2, 2, 2]), 4, "The images")
