import numpy as np
import pytest

from tf_adaptive.routing.calibration import (
    fit_predictor_temperature,
    predictor_calibration,
)


def made_up(samples=20_000, seed=0):
    """Preferences whose softmax is how often each resolution is the one that knows the label."""
    random = np.random.default_rng(seed)
    preferences = random.normal(scale=2, size=(samples, 3)).astype("float32")
    knows = (preferences + random.gumbel(size=preferences.shape)).argmax(axis=-1)
    labels = random.integers(0, 4, samples)
    logits = np.zeros((3, samples, 4), "float32")
    logits[knows, np.arange(samples), labels] = 20.0
    wrong = np.where(np.arange(3)[:, None] != knows)
    logits[wrong[0], wrong[1], (labels[wrong[1]] + 1) % 4] = 20.0
    return preferences, logits, labels


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_finds_the_temperature_that_preferences_were_sharpened_by(scale):
    preferences, logits, labels = made_up()
    temperature = fit_predictor_temperature(scale * preferences, logits, labels)
    assert temperature == pytest.approx(scale, rel=0.1)
    row = predictor_calibration(temperature, scale * preferences, logits, labels)
    assert row.temperature == temperature
    assert row.nll <= row.nll_before + 1e-9
    if scale == 4:
        assert row.nll < row.nll_before - 0.1
