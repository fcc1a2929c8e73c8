import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from savedmodels.serving.exit_signatures import exit_signatures
from tests.bounds import ROUNDING, apart
from tf_adaptive import EarlyExit, InputError
from tf_adaptive.data.preprocessing import Preprocessing
from tf_adaptive.graph.calls import calls_before
from tf_adaptive.graph.final_activation import (
    exits_as_logits,
    with_classes,
    without_final_activation,
)
from tf_adaptive.reports.logits import collect_logits


def classifier(end):
    """Two convolutions, and the end that a function makes of their 3×3 map."""
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    features = layers.Conv2D(4, 3, strides=2, activation="relu")(images)
    return keras.Model(images, end(layers.Conv2D(6, 1, name="below")(features)))


def pooled(features):
    return layers.GlobalAveragePooling2D()(features)


def one_place(features):
    return layers.GlobalAveragePooling2D(keepdims=True)(features)


def softmax_of(logits):
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def sigmoid_of(logits):
    return 1 / (1 + np.exp(-logits))


IMAGES = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype("float32")
ENDS = {
    "dense": lambda x: layers.Dense(4, activation="softmax")(pooled(x)),
    "dense_sigmoid": lambda x: layers.Dense(4, activation="sigmoid")(pooled(x)),
    "activation": lambda x: layers.Activation("softmax")(layers.Dense(4)(pooled(x))),
    "softmax": lambda x: layers.Softmax()(layers.Dense(4)(pooled(x))),
    "axis_by_number": lambda x: layers.Softmax(axis=1)(layers.Dense(4)(pooled(x))),
    "operation": lambda x: keras.ops.softmax(layers.Dense(4)(pooled(x))),
    "sigmoid_operation": lambda x: keras.ops.sigmoid(layers.Dense(4)(pooled(x))),
    "behind_a_reshape": lambda x: layers.Activation("softmax")(
        layers.Reshape((4,))(layers.Conv2D(4, 1)(one_place(x)))
    ),
    "before_a_flatten": lambda x: layers.Flatten()(
        layers.Conv2D(4, 1, activation="softmax")(one_place(x))
    ),
    "dropout_between": lambda x: layers.Softmax()(layers.Dropout(0.5)(layers.Dense(4)(pooled(x)))),
    "pooled_maps": lambda x: layers.Softmax()(pooled(layers.Conv2D(4, 1)(x))),
    "nested": lambda x: keras.Sequential([layers.Dense(4), layers.Softmax()])(pooled(x)),
}


@pytest.mark.parametrize("name", ENDS)
def test_softmax_and_sigmoid_are_taken_off(name):
    model = classifier(ENDS[name])
    expected = "sigmoid" if "sigmoid" in name else "softmax"
    logits_model, taken_off = without_final_activation(model)
    assert taken_off == expected
    logits = np.asarray(logits_model(IMAGES))
    assert logits.shape == (5, 4)
    assert np.abs(logits).max() > 0 and np.any(logits < 0)
    probabilities = (sigmoid_of if taken_off == "sigmoid" else softmax_of)(logits)
    np.testing.assert_allclose(probabilities, model(IMAGES), rtol=1e-5, atol=1e-7)
    assert logits_model.get_layer("below") is model.get_layer("below")
    assert [weight.shape for weight in logits_model.weights] == [
        weight.shape for weight in model.weights
    ]


def test_logits_are_the_same_bits():
    model = classifier(ENDS["dense"])
    logits, _ = without_final_activation(model)
    dense = model.layers[-1]
    features = keras.Model(model.input, dense.input)(IMAGES)
    expected = keras.ops.matmul(features, dense.kernel) + dense.bias
    np.testing.assert_array_equal(logits(IMAGES), expected)
    # The model itself is left as it was.
    assert dense.activation is keras.activations.softmax


@pytest.mark.parametrize(
    "end",
    [
        lambda x: layers.Dense(4)(pooled(x)),
        lambda x: layers.Activation("linear")(layers.Dense(4)(pooled(x))),
        lambda x: layers.Flatten()(layers.Conv2D(4, 1)(one_place(x))),
        lambda x: pooled(layers.Conv2D(4, 1)(x)),
        lambda x: layers.Add()([layers.Dense(4)(pooled(x)), layers.Dense(4)(pooled(x))]),
    ],
)
def test_a_network_of_logits_stays(end):
    model = classifier(end)
    same, taken_off = without_final_activation(model)
    assert same is model
    assert taken_off is None


def with_probabilities():
    """Two exits, of a softmax and of a sigmoid, and a linear one; their logits beside them."""
    images = keras.Input((8, 8, 3))
    features = layers.Conv2D(4, 3, activation="relu")(images)
    deeper = layers.Conv2D(4, 3, activation="relu")(features)
    first = layers.Dense(4, activation="softmax", name="first")(pooled(features))
    second = layers.Dense(4, name="second")(pooled(deeper))
    last = layers.Dense(4, name="last")(layers.Dense(40)(layers.Flatten()(deeper)))
    model = keras.Model(images, [first, layers.Activation("sigmoid")(second), last], name="given")
    return model, model.get_layer("first")


def test_exits_that_are_probabilities_become_logits():
    model, first = with_probabilities()
    with pytest.warns(UserWarning, match="of 'given': softmax at output 1, sigmoid at output 2$"):
        linear = exits_as_logits(model)
    received, given = linear(IMAGES), model(IMAGES)
    np.testing.assert_allclose(softmax_of(np.asarray(received[0])), given[0], rtol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-received[1])), given[1], rtol=1e-5)
    np.testing.assert_array_equal(received[2], given[2])
    # The model itself is as it was, and what has logits already is taken as it is.
    assert first.activation is keras.activations.softmax
    assert exits_as_logits(linear) is linear


def test_whatever_takes_exits_takes_them_as_logits():
    model, _ = with_probabilities()
    with pytest.warns(UserWarning):
        logits = [np.asarray(exit) for exit in exits_as_logits(model)(IMAGES)]
    with pytest.warns(UserWarning):
        collected, _ = collect_logits(model, [(IMAGES, np.zeros(len(IMAGES)))])
    assert apart(collected, logits) < ROUNDING
    with pytest.warns(UserWarning):
        early_exit = EarlyExit(model, [0.0, 0.0])
    answer = early_exit(IMAGES)
    np.testing.assert_allclose(answer["probabilities"], softmax_of(logits[0]), rtol=1e-5)
    preprocessing = Preprocessing(
        image_shape=(8, 8, 3), mean=[0] * 3, std=[1] * 3, center_crop=False
    )
    signatures = exit_signatures(early_exit, preprocessing, list("abcd"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    served = signatures["all_exits"][0](tf.constant(pixels))["exit_1"]
    expected = model(pixels / np.float32(255))[0]
    np.testing.assert_allclose(softmax_of(np.asarray(served)), expected, rtol=1e-5)


def test_a_sequential_model_becomes_functional():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3, activation="softmax")]
    )
    logits, taken_off = without_final_activation(model)
    assert taken_off == "softmax"
    np.testing.assert_allclose(softmax_of(np.asarray(logits(IMAGES))), model(IMAGES), rtol=1e-5)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (
            lambda x: layers.Dense(4, activation="relu", name="last")(pooled(x)),
            "Received: 'last', a Dense with 'relu'",
        ),
        (
            lambda x: layers.Activation("log_softmax", name="last")(layers.Dense(4)(pooled(x))),
            "Received: 'last', a Activation with 'log_softmax'",
        ),
        (lambda x: layers.ReLU(name="last")(layers.Dense(4)(pooled(x))), "'last', a ReLU"),
        (
            lambda x: layers.Softmax()(layers.Dense(4, activation="tanh")(pooled(x))),
            "a Dense with 'tanh'",
        ),
        (
            lambda x: layers.Softmax()(layers.Dense(4, activation="softmax")(pooled(x))),
            "a Dense with 'softmax'",
        ),
        (lambda x: layers.Softmax(axis=0)(layers.Dense(4)(pooled(x))), "a Softmax"),
        (lambda x: layers.Dense(1, activation="sigmoid")(pooled(x)), "two classes or more"),
        (lambda x: layers.Conv2D(4, 1)(x), "Received: the shape (None, 3, 3, 4)"),
        (lambda x: [layers.Dense(4)(pooled(x)), layers.Dense(4)(pooled(x))], "2 outputs"),
    ],
)
def test_refuses_what_ends_otherwise(end, message):
    with pytest.raises(InputError) as error:
        without_final_activation(classifier(end))
    assert message in str(error.value)


def test_refuses_what_is_no_functional_model():
    class Subclassed(keras.Model):
        def call(self, images):
            return images

    for model in (Subclassed(), keras.Sequential([layers.Dense(2)]), "model"):
        with pytest.raises(InputError, match="must be a functional or sequential keras.Model"):
            without_final_activation(model)
    images = keras.Input((4,))
    with pytest.raises(InputError, match="a layer that makes its logits. Received: none"):
        without_final_activation(keras.Model(images, layers.Dropout(0.5)(images)))


@pytest.mark.parametrize("name", ["dense", "behind_a_reshape", "before_a_flatten", "activation"])
def test_other_classes_are_told_apart_on_the_same_features(name):
    model = classifier(ENDS[name])
    other = with_classes(model, 7)
    assert other.output.shape == (None, 7)
    assert other.get_layer("below") is model.get_layer("below")
    dense = calls_before(other.outputs)[-1].operation
    features = np.asarray(pooled(keras.Model(model.input, model.get_layer("below").output)(IMAGES)))
    kernel, bias = dense.get_weights()
    assert kernel.shape == (6, 7)
    np.testing.assert_allclose(other(IMAGES), features @ kernel + bias, rtol=1e-4, atol=1e-6)


def test_refuses_other_classes_where_no_layer_makes_logits_of_one_place():
    with pytest.raises(InputError, match="a GlobalAveragePooling2D on"):
        with_classes(classifier(ENDS["pooled_maps"]), 7)
    with pytest.raises(InputError, match="`num_classes` must be a whole number from 2 on"):
        with_classes(classifier(ENDS["dense"]), 1)
