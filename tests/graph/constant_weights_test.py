import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.exits.backbones import residual_classifier, token_classifier
from tests.models.network_checks import with_statistics
from tests.random_graphs import random_images, random_model
from tests.tiny_networks import tiny_collaborating, tiny_msdnet, tiny_ranet
from tf_adaptive import attach_exits, fold_batch_norm
from tf_adaptive.graph import constant_weights
from tf_adaptive.graph.constant_weights import ConstantWeights


def backbone_with_exits():
    return attach_exits(residual_classifier(), num_exits=3)


def transformer_with_exits():
    return attach_exits(token_classifier(), num_exits=2)


def several_inputs():
    images = [keras.Input((6, 6, 2), name=name) for name in ("left", "right")]
    features = keras.layers.Concatenate()([keras.layers.Conv2D(3, 3)(tensor) for tensor in images])
    return keras.Model(images, [keras.layers.Dense(2)(keras.layers.Flatten()(features))])


def in_bfloat16():
    return fold_batch_norm(tiny_msdnet(), dtype="bfloat16")


def assert_same(constant, model):
    images = random_images(model, batch=3)
    expected, received = (
        keras.tree.flatten(network(images, training=False)) for network in (model, constant)
    )
    for actual, wanted in zip(received, expected, strict=True):
        actual, wanted = (np.asarray(tf.cast(tensor, "float32")) for tensor in (actual, wanted))
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    "build",
    [
        *(tiny_msdnet, tiny_collaborating, tiny_ranet, backbone_with_exits),
        *(transformer_with_exits, several_inputs, in_bfloat16),
    ],
)
def test_answers_as_the_model_and_has_no_variable(build):
    keras.utils.set_random_seed(0)
    model = with_statistics(build())
    constant = ConstantWeights(model)
    assert_same(constant, model)
    graph = tf.function(lambda inputs: constant(inputs)).get_concrete_function(
        [tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs]
    )
    assert not graph.variables and not graph.captured_inputs


@pytest.mark.parametrize("seed", range(6))
def test_random_graphs(seed):
    model = random_model(seed)
    assert_same(ConstantWeights(model), model)


def test_weights_are_those_when_it_was_made():
    model = tiny_msdnet()
    images = random_images(model, batch=2)
    constant = ConstantWeights(model)
    before = [exit.numpy() for exit in constant(images)]
    for weight in model.trainable_weights:
        weight.assign_add(tf.ones(weight.shape))
    for exit, expected in zip(constant(images), before, strict=True):
        np.testing.assert_array_equal(exit, expected)
    assert_same(ConstantWeights(model), model)


def test_weights_that_a_graph_cannot_hold_stay_variables(monkeypatch):
    monkeypatch.setattr(constant_weights, "_MOST_BYTES", 1000)
    model = tiny_msdnet()
    constant = ConstantWeights(model)
    images = random_images(model, batch=2)
    graph = tf.function(constant).get_concrete_function(tf.TensorSpec((None, 16, 16, 3)))
    assert graph.captured_inputs
    for exit, expected in zip(constant(images), model(images, training=False), strict=True):
        np.testing.assert_array_equal(exit, expected)
