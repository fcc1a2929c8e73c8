import numpy as np
import pytest
import tensorflow as tf

from tf_adaptive.errors import InputError
from tf_adaptive.layers import MeanPrediction


def test_softmax_is_the_mean_of_the_probabilities():
    logits = 3 * np.random.default_rng(0).standard_normal((3, 6, 4)).astype("float32")
    probabilities = np.asarray(tf.nn.softmax(logits))
    of_two = MeanPrediction(2)([logits[0], logits[1]])
    of_three = MeanPrediction(3)([of_two, logits[2]])
    for actual, expected in ((of_two, probabilities[:2]), (of_three, probabilities)):
        # Logarithms of probabilities, so their softmax is what they are the logarithm of.
        np.testing.assert_allclose(np.exp(actual), expected.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(tf.nn.softmax(actual), expected.mean(axis=0), rtol=1e-5)


def test_probabilities_too_small_for_float32():
    logits = tf.constant([[0.0, -200.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        mean = MeanPrediction(2)([logits, logits])
    np.testing.assert_allclose(mean, [[0.0, -200.0]], atol=1e-4)
    assert np.isfinite(tape.gradient(mean, logits)).all()


def test_comes_back_from_its_configuration():
    layer = MeanPrediction(3, name="a_name")
    assert MeanPrediction.from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize("members", [1, 2.0])
def test_refuses(members):
    with pytest.raises(InputError, match="`members` must be a whole number from 2 on"):
        MeanPrediction(members)
