import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_adaptive.layers import ConvUnit, FakeQuantize, FakeQuantizedConvUnit, FakeQuantizedDense
from tf_adaptive.layers.fake_quantization import fake_quantized_kernel


def quantizer(minimum, maximum, **arguments):
    layer = FakeQuantize(**arguments)
    layer.build((None, 3))
    layer.set_range(minimum, maximum)
    return layer


def rounded(values, minimum, maximum):
    """As the layer says, with NumPy in float64."""
    step = (maximum - minimum) / 255
    zero = np.round(-minimum / step)
    return step * (np.clip(np.floor(values / step + zero + 0.5), 0, 255) - zero)


def gradient(function, values):
    values = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(function(values))
    return tape.gradient(total, values).numpy()


@pytest.mark.parametrize("bounds", [(-1, 2), (0, 6), (-0.81, 2.023), (-3.3, 0.001)])
def test_rounds_to_256_numbers_of_the_range(bounds):
    values = np.linspace(-4, 7, 5000).astype("float32").reshape(50, 100)
    layer = quantizer(*bounds)
    outputs = layer(values).numpy()
    expected = rounded(values.astype("float64"), *bounds)
    step = (bounds[1] - bounds[0]) / 255
    # But where float32 sees a tie.
    close = np.abs(outputs - expected) < 1e-5
    assert np.mean(close) > 0.999
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1.001 * step)
    assert len(np.unique(outputs)) == 256
    np.testing.assert_array_equal(layer(outputs).numpy(), outputs)
    assert layer(np.zeros((1, 3), "float32")).numpy().tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("given", "expected"), [((2, 5), (0, 5)), ((-5, -2), (-5, 0)), ((0, 0), (0, 0))]
)
def test_range_holds_0(given, expected):
    layer = quantizer(*given)
    np.testing.assert_allclose((layer.minimum.numpy(), layer.maximum.numpy()), expected, atol=2e-6)
    assert np.all(np.isfinite(layer(np.ones((1, 3), "float32")).numpy()))


def test_gradient_passes_within_the_range_and_not_outside():
    values = np.float32([-1.5, -1.1, -0.9, -0.31, 0, 0.02, 1.4, 1.9, 2.1, 40])
    expected = [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]
    assert gradient(quantizer(-1, 2), values).tolist() == expected


def test_the_range_is_kept_and_does_not_learn(tmp_path):
    images = keras.Input((3,))
    model = keras.Model(images, FakeQuantize(name="rounded")(images))
    assert not model.trainable_variables
    model.get_layer("rounded").set_range(-0.5, 0.25)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").get_layer("rounded")
    assert (loaded.minimum.numpy(), loaded.maximum.numpy()) == (-0.5, 0.25)


def test_kernel_of_a_convolution_has_a_step_per_channel():
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(3, 3, 5, 4)) * [1, 0.01, 30, 0]
    steps = np.abs(kernel).max(axis=(0, 1, 2)) / 127
    outputs = fake_quantized_kernel(kernel.astype("float32")).numpy()
    expected = np.round(kernel[..., :3] / steps[:3]) * steps[:3]
    np.testing.assert_allclose(outputs[..., :3], expected, rtol=1e-5, atol=1e-8)
    assert not np.any(outputs[..., 3])


def test_kernel_of_a_linear_layer_has_one_step():
    kernel = np.random.default_rng(0).normal(size=(20, 4)) * [1, 0.1, 3, 0]
    step = np.abs(kernel).max() / 127
    outputs = fake_quantized_kernel(kernel.astype("float32")).numpy()
    np.testing.assert_allclose(outputs, np.round(kernel / step) * step, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("shape", [(3, 3, 8, 16), (40, 10)])
def test_gradient_passes_to_every_weight(shape):
    kernel = np.random.default_rng(0).normal(size=shape).astype("float32")
    np.testing.assert_array_equal(gradient(fake_quantized_kernel, kernel), np.ones(shape))


@pytest.mark.parametrize(("kernel_size", "strides"), [(1, 1), (3, 1), (3, 2)])
def test_unit_is_one_with_a_rounded_kernel(kernel_size, strides):
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    arguments = {"strides": strides, "use_bias": True, "normalized": False}
    plain, layer = (kind(4, kernel_size, **arguments) for kind in (ConvUnit, FakeQuantizedConvUnit))
    layer(images)
    plain(images)
    kernel, bias = layer.get_weights()
    bias = bias + 0.3
    layer.set_weights([kernel, bias])
    plain.set_weights([fake_quantized_kernel(kernel), bias])
    np.testing.assert_array_equal(layer(images).numpy(), plain(images).numpy())
    # The layer's own weights are not rounded.
    np.testing.assert_array_equal(layer.get_weights()[0], kernel)
    assert np.abs(fake_quantized_kernel(kernel) - kernel).max() > 1e-4


@pytest.mark.parametrize("arguments", [{}, {"use_bias": False}, {"activation": "relu"}])
def test_linear_layer_is_one_with_a_rounded_kernel(arguments):
    features = np.random.default_rng(0).normal(size=(5, 7)).astype("float32")
    layer, plain = (kind(4, **arguments) for kind in (FakeQuantizedDense, keras.layers.Dense))
    layer(features)
    plain(features)
    kernel, *bias = layer.get_weights()
    bias = [values + 0.3 for values in bias]
    layer.set_weights([kernel, *bias])
    plain.set_weights([fake_quantized_kernel(kernel), *bias])
    np.testing.assert_allclose(layer(features).numpy(), plain(features).numpy(), atol=1e-6)


def test_bfloat16():
    layer = quantizer(-1, 2, dtype="mixed_bfloat16")
    outputs = layer(tf.constant([[0.5, 1.7, 9.0]], tf.bfloat16))
    assert outputs.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), [[0.5, 1.7, 2]], atol=0.01)
    unit = FakeQuantizedConvUnit(2, 3, normalized=False, dtype="mixed_bfloat16")
    assert unit(np.ones((1, 4, 4, 3), "float32")).dtype == tf.bfloat16
