import keras
import numpy as np
import pytest
from keras import layers

from tests.exits.backbones import residual_classifier
from tf_adaptive import InputError
from tf_adaptive.exits.logits import without_final_activation

IMAGES = np.random.default_rng(0).standard_normal((4, 16, 16, 3)).astype("float32")


def with_layer(layer):
    model = residual_classifier()
    return keras.Model(model.input, layer(model.output))


def test_logits_stay_as_they_are():
    model = residual_classifier()
    assert without_final_activation(model) == (model, None)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_activation_of_the_last_layer_is_taken_off(activation):
    model = residual_classifier(activation=activation)
    logits, name = without_final_activation(model)
    assert name == activation
    assert [layer.name for layer in logits.layers] == [layer.name for layer in model.layers]
    answer = getattr(keras.ops, activation)(logits(IMAGES))
    np.testing.assert_array_equal(answer, model(IMAGES))


@pytest.mark.parametrize(
    "layer",
    [
        layers.Softmax(),
        layers.Activation("softmax"),
        keras.ops.softmax,
        keras.ops.sigmoid,
        layers.Activation("sigmoid"),
    ],
)
def test_an_activation_of_its_own_is_taken_off(layer):
    model = with_layer(layer)
    logits, name = without_final_activation(model)
    assert name in ("softmax", "sigmoid")
    assert logits.outputs[0] is not model.outputs[0]
    answer = getattr(keras.ops, name)(logits(IMAGES))
    np.testing.assert_array_equal(answer, model(IMAGES))


@pytest.mark.parametrize("layer", [layers.ReLU(), layers.Activation("tanh"), layers.LeakyReLU()])
def test_what_is_no_logits_is_refused(layer):
    with pytest.raises(InputError, match=f"must end in logits.*{layer.name!r}"):
        without_final_activation(with_layer(layer))


def test_one_unit_is_refused():
    with pytest.raises(InputError, match="two classes or more.*an output of 1"):
        without_final_activation(residual_classifier(classes=1, activation="sigmoid"))
