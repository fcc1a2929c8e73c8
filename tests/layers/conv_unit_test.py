import keras
import numpy as np
import pytest

from tf_adaptive.errors import InputError
from tf_adaptive.layers import ConvUnit


def padded_convolution(images, kernel, strides):
    """Convolution as PyTorch pads it, window by window, in float64."""
    size = kernel.shape[0]
    side = (size - 1) // 2
    padded = np.pad(images.astype("float64"), ((0, 0), (side, side), (side, side), (0, 0)))
    height, width = ((length - 1) // strides + 1 for length in images.shape[1:3])
    outputs = np.zeros((len(images), height, width, kernel.shape[-1]))
    for row in range(height):
        for column in range(width):
            top, left = row * strides, column * strides
            window = padded[:, top : top + size, left : left + size]
            outputs[:, row, column] = np.tensordot(window, kernel, axes=3)
    return outputs


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (1, 5)])
@pytest.mark.parametrize(
    ("kernel_size", "strides"), [(1, 1), (3, 1), (3, 2), (1, 2), (7, 2), (5, 3)]
)
def test_convolves_with_the_same_padding_on_all_sides(size, kernel_size, strides):
    images = np.random.default_rng(0).standard_normal((2, *size, 3)).astype("float32")
    unit = ConvUnit(4, kernel_size, strides=strides, use_bias=True)
    shape = unit.compute_output_shape(images.shape)
    unit.build(images.shape)
    unit.convolution.bias.assign([0.5, -0.5, 1.0, 0.0])
    outputs = keras.ops.convert_to_numpy(unit(images))
    expected = padded_convolution(images, unit.convolution.kernel.numpy(), strides)
    expected += unit.convolution.bias.numpy()
    # New moving statistics are mean 0 and variance 1.
    expected = np.maximum(expected / np.sqrt(1 + 1e-5), 0)
    assert outputs.shape == shape == expected.shape
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_kernel_starts_as_published():
    unit = ConvUnit(64, 3)
    unit.build((None, 8, 8, 64))
    kernel = unit.convolution.kernel.numpy()
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    assert abs(kernel.mean()) < 1e-3


def test_unknown_sides_stay_unknown():
    assert ConvUnit(4, 3, strides=2).compute_output_shape((None, None, 9, 3)) == (None, None, 5, 4)


def test_training_reaches_the_batch_normalization():
    images = np.random.default_rng(0).standard_normal((4, 6, 6, 2)).astype("float32")
    unit = ConvUnit(3, 3)
    unit(images, training=False)
    assert not unit.batch_normalization.moving_mean.numpy().any()
    unit(images, training=True)
    assert unit.batch_normalization.moving_mean.numpy().all()


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("relu", lambda x: np.maximum(x, 0)),
        ("relu6", lambda x: np.clip(x, 0, 6)),
        ("linear", lambda x: x),
    ],
)
def test_activations(activation, expected):
    images = 9 * np.random.default_rng(0).standard_normal((2, 6, 6, 2)).astype("float32")
    unit = ConvUnit(3, 3, activation=activation)
    unit.build(images.shape)
    normalized = padded_convolution(images, unit.convolution.kernel.numpy(), 1) / np.sqrt(1 + 1e-5)
    assert normalized.max() > 6
    assert normalized.min() < 0
    np.testing.assert_allclose(unit(images), expected(normalized), atol=1e-4)


def test_shares_its_convolution_in_bfloat16_with_a_unit_of_other_statistics():
    images = np.random.default_rng(0).standard_normal((4, 6, 6, 2)).astype("float32")
    unit = ConvUnit(3, 3, strides=2, use_bias=True, activation="relu6", dtype="mixed_bfloat16")
    unit(images, training=True)
    other = unit.with_own_batch_normalization("other")
    assert other.get_config() == {**unit.get_config(), "name": "other"}
    assert other.convolution is unit.convolution
    assert len(other.weights) == len(unit.weights)
    assert {weight.path.split("/")[0] for weight in other.batch_normalization.weights} == {"other"}
    np.testing.assert_array_equal(other(images).numpy(), unit(images).numpy())
    before = unit.batch_normalization.moving_mean.numpy()
    other(images, training=True)
    np.testing.assert_array_equal(unit.batch_normalization.moving_mean, before)
    assert (other.batch_normalization.moving_mean.numpy() != before).all()


def test_comes_back_from_its_configuration():
    unit = ConvUnit(
        4, 3, strides=2, use_bias=True, activation="linear", dtype="mixed_bfloat16", name="unit"
    )
    again = keras.layers.deserialize(keras.layers.serialize(unit))
    assert again.get_config() == unit.get_config()
    again.build((None, 8, 8, 3))
    assert again.convolution.compute_dtype == "bfloat16"
    assert [w.shape for w in again.weights] == [(3, 3, 3, 4), *[(4,)] * 5]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"filters": 0, "kernel_size": 3}, "`filters` and `strides` .* filters=0"),
        ({"filters": 4, "kernel_size": 3, "strides": 0}, "`filters` and `strides` .* strides=0"),
        ({"filters": 4, "kernel_size": 2}, "`kernel_size` must be odd. Received: kernel_size=2"),
        ({"filters": 4, "kernel_size": 3, "activation": "tanh"}, "`activation` must be one of"),
        ({"filters": 4, "kernel_size": -1}, "`kernel_size` must be odd. Received: kernel_size=-1"),
    ],
)
def test_refuses(arguments, named):
    with pytest.raises(InputError, match=named):
        ConvUnit(**arguments)
