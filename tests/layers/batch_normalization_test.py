import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_adaptive.layers import BatchNormalization


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return (3 + 2 * rng.standard_normal((5, 4, 3, 6))).astype("float32")


def ours_and_kerass(dtype="float32"):
    """Both layers, built, with the same random variables."""
    rng = np.random.default_rng(1)
    values = [rng.uniform(0.5, 2, 6).astype("float32") for _ in range(4)]
    layers = (
        BatchNormalization(dtype=dtype),
        keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=dtype),
    )
    for layer in layers:
        layer.build((None, 4, 3, 6))
        layer.set_weights(values)
    return layers


def operations_of(layer, images, **kwargs):
    function = tf.function(lambda x: layer(x, **kwargs)).get_concrete_function(images)
    return {operation.type for operation in function.graph.get_operations()}


@pytest.mark.parametrize("training", [False, True])
def test_outputs_and_gradients_are_kerass(images, training):
    results = []
    for layer in ours_and_kerass():
        inputs = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=training)
            loss = tf.reduce_sum(tf.sin(outputs))
        variables = [weight.value for weight in layer.trainable_weights]
        results.append([outputs, *tape.gradient(loss, [inputs, *variables])])
    assert len(results[0]) == 4
    for ours, kerass in zip(*results, strict=True):
        np.testing.assert_allclose(ours, kerass, rtol=1e-4, atol=1e-4)


def test_float32_is_fused(images):
    ours, kerass = ours_and_kerass()
    assert "FusedBatchNormV3" in operations_of(ours, images, training=True)
    assert "FusedBatchNormV3" in operations_of(ours, images, training=False)
    assert "FusedBatchNormV3" not in operations_of(kerass, images, training=True)


def test_moving_statistics_take_the_unbiased_variance(images):
    layer, _ = ours_and_kerass()
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    layer(images, training=True)
    np.testing.assert_allclose(
        layer.moving_mean, 0.9 * mean + 0.1 * images.mean((0, 1, 2)), rtol=1e-5
    )
    np.testing.assert_allclose(
        layer.moving_variance, 0.9 * variance + 0.1 * images.var((0, 1, 2), ddof=1), rtol=1e-5
    )


def test_inference_leaves_the_moving_statistics(images):
    layer, _ = ours_and_kerass()
    before = layer.get_weights()
    layer(images, training=False)
    layer(images)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_frozen_layer_normalises_with_its_moving_statistics(images):
    layer, _ = ours_and_kerass()
    inferred = layer(images, training=False)
    before = layer.get_weights()
    layer.trainable = False
    np.testing.assert_array_equal(layer(images, training=True), inferred)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("training", [False, True])
def test_bfloat16_is_kerass_own(images, training):
    ours, kerass = ours_and_kerass(dtype="mixed_bfloat16")
    assert "FusedBatchNormV3" not in operations_of(ours, images, training=training)
    outputs = ours(images, training=training)
    assert outputs.dtype == tf.bfloat16
    np.testing.assert_array_equal(outputs, kerass(images, training=training))
    for weight, expected in zip(ours.weights, kerass.weights, strict=True):
        assert weight.dtype == "float32"
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((5, 6), {}),
        ((5, 4, 3, 6), {"axis": 1}),
        ((5, 4, 3, 6), {"center": False}),
        ((5, 4, 3, 6), {"scale": False}),
    ],
)
def test_what_cannot_be_fused_is_kerass_own(shape, arguments):
    images = np.random.default_rng(0).standard_normal(shape).astype("float32")
    ours = BatchNormalization(**arguments)
    kerass = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, **arguments)
    np.testing.assert_array_equal(ours(images, training=True), kerass(images, training=True))
    assert "FusedBatchNormV3" not in operations_of(ours, images, training=True)


def test_comes_back_from_its_configuration():
    layer = BatchNormalization(momentum=0.8, epsilon=1e-3, name="normalization")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert isinstance(again, BatchNormalization)
    assert again.get_config() == layer.get_config()
