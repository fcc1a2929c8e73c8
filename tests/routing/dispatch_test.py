import numpy as np
import pytest
import tensorflow as tf

from tests.bounds import ROUNDING, apart
from tests.training.tiny_drnet import tiny_drnet
from tf_adaptive import Routing
from tf_adaptive.compression.folding import fold_drnet
from tf_adaptive.errors import InputError


@pytest.fixture(scope="module")
def drnet():
    model, _ = tiny_drnet()
    return model


@pytest.fixture(scope="module")
def images(drnet):
    """Enough of them that each resolution is picked for one."""
    shape = (40, *drnet.input_shape[1:])
    images = 3 * np.random.default_rng(0).normal(size=shape).astype("float32")
    assert len(set(np.asarray(drnet.choose(images)))) > 1
    return images


def assert_same(actual, expected):
    assert set(actual) == {"class", "probabilities", "confidence", "resolution"}
    for name in ("class", "resolution"):
        np.testing.assert_array_equal(actual[name], expected[name])
    for name in ("probabilities", "confidence"):
        assert apart(np.asarray(actual[name]), np.asarray(expected[name])) < ROUNDING


def test_answers_what_the_model_does(drnet, images):
    answer = Routing(drnet)(images)
    routed = drnet.route(images)
    expected = tf.nn.softmax(routed["logits"])
    assert_same(
        answer,
        {
            "class": np.argmax(expected, axis=-1),
            "probabilities": expected,
            "confidence": np.max(expected, axis=-1),
            "resolution": np.take(drnet.resolutions, routed["choice"]),
        },
    )


@pytest.mark.parametrize("constant_weights", [False, True])
def test_folded_networks_and_any_batch(drnet, images, constant_weights):
    folded = Routing(drnet, networks=fold_drnet(drnet), constant_weights=constant_weights)
    expected = Routing(drnet)(images)
    assert_same(folded(images), expected)
    assert_same(folded.predict(images, batch_size=7), expected)
    batches = tf.data.Dataset.from_tensor_slices((images, np.zeros(40))).batch(16)
    assert_same(folded.predict(batches), expected)
    empty = folded.predict(images[:0])
    assert empty["probabilities"].shape == (0, expected["probabilities"].shape[1])


def test_images_that_are_not_finite(drnet, images):
    routing = Routing(drnet)
    broken = images.copy()
    broken[3, 0, 0, 0] = np.nan
    broken[5, 1, 1, 0] = np.inf
    with pytest.raises(InputError, match="`images` must be finite.*in 2 of 40 images.*index 3"):
        routing(broken)
    answer = tf.function(lambda given: routing.run([given]))(broken)
    np.testing.assert_array_equal(np.asarray(answer["confidence"])[[3, 5]], 0)
    np.testing.assert_array_equal(
        np.asarray(answer["resolution"])[[3, 5]], [drnet.resolutions[0]] * 2
    )
    kept = np.delete(np.arange(40), [3, 5])
    expected = routing(images)
    assert_same(
        {name: np.asarray(values)[kept] for name, values in answer.items()},
        {name: np.asarray(values)[kept] for name, values in expected.items()},
    )


def test_refuses_what_is_no_batch_of_images(drnet, images):
    routing = Routing(drnet)
    with pytest.raises(InputError, match="`images` must have the shape"):
        routing(images[:, :-1])
    with pytest.raises(InputError, match="`batch_size` must be a whole number from 1 on"):
        routing.predict(images, batch_size=0)
    nothing = tf.data.Dataset.from_tensor_slices(images).batch(8).take(0)
    with pytest.raises(InputError, match="`images` must hold at least one batch"):
        routing.predict(nothing)
