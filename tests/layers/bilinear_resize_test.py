import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_adaptive.errors import InputError
from tf_adaptive.layers import BilinearResize


def resizing_matrix(size, resized):
    """`(resized, size)`: the share of every input pixel in every output pixel of one axis."""
    positions = np.linspace(0, size - 1, resized)
    pixels = [np.interp(positions, np.arange(size), pixel) for pixel in np.eye(size)]
    return np.stack(pixels, axis=1)


def random_maps(height, width):
    return np.random.default_rng(0).standard_normal((2, height, width, 3)).astype("float32")


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((4, 4), (8, 8)),
        ((3, 5), (7, 6)),
        ((8, 8), (4, 4)),
        ((7, 9), (3, 12)),
        ((5, 6), (5, 6)),
        ((4, 7), (1, 1)),
        ((1, 1), (3, 4)),
        ((1, 5), (2, 1)),
        ((2, 2), (64, 1)),
    ],
)
def test_corners_stay_on_the_corners(size, resized):
    maps = random_maps(*size)
    rows, columns = (resizing_matrix(m, n) for m, n in zip(size, resized, strict=True))
    layer = BilinearResize(*resized)
    weights = np.random.default_rng(1).standard_normal((2, *resized, 3)).astype("float32")
    inputs = tf.constant(maps)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs)
        loss = tf.reduce_sum(outputs * weights)
    assert outputs.dtype == tf.float32
    assert outputs.shape == layer.compute_output_shape(maps.shape) == (2, *resized, 3)
    expected = np.einsum("rh,bhwc,sw->brsc", rows, maps, columns)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    # Of a linear map, the gradient is the transposed map.
    expected = np.einsum("rh,brsc,sw->bhwc", rows, weights, columns)
    np.testing.assert_allclose(tape.gradient(loss, inputs), expected, atol=1e-4)


def test_numbers_by_hand():
    maps = np.array([[0.0, 3.0], [6.0, 9.0]], "float32").reshape(1, 2, 2, 1)
    expected = [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    np.testing.assert_allclose(BilinearResize(3, 4)(maps)[0, :, :, 0], expected, atol=1e-6)


def test_bfloat16_stays_bfloat16():
    layer = BilinearResize(7, 6, dtype="mixed_bfloat16")
    inputs = tf.cast(random_maps(3, 5), "bfloat16")
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs)
        loss = tf.reduce_sum(tf.cast(outputs, "float32"))
    assert outputs.dtype == tf.bfloat16
    in_float32 = BilinearResize(7, 6)(tf.cast(inputs, "float32"))
    np.testing.assert_array_equal(outputs, tf.cast(in_float32, "bfloat16"))
    gradient = tape.gradient(loss, inputs)
    assert gradient.dtype == tf.bfloat16
    shares = np.outer(resizing_matrix(3, 7).sum(axis=0), resizing_matrix(5, 6).sum(axis=0))
    expected = np.broadcast_to(shares[None, :, :, None], (2, 3, 5, 3))
    np.testing.assert_allclose(tf.cast(gradient, "float32"), expected, rtol=2e-2)


def test_sides_that_are_not_known():
    layer = BilinearResize(3, 4)
    assert layer.compute_output_shape((None, None, None, 2)) == (None, 3, 4, 2)
    assert layer(keras.Input((None, None, 2))).shape == (None, 3, 4, 2)


def test_saved_and_loaded_again_inside_a_model(tmp_path):
    images = keras.Input((4, 5, 3), name="images")
    model = keras.Model(images, BilinearResize(7, 2, dtype="mixed_bfloat16", name="resize")(images))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    layer = again.get_layer("resize")
    assert type(layer) is BilinearResize
    assert layer.get_config() == model.get_layer("resize").get_config()
    assert again.output_shape == (None, 7, 2, 3)
    np.testing.assert_array_equal(again(random_maps(4, 5)), model(random_maps(4, 5)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4), "`height` must be a whole number from 1 on. Received: height=0"),
        ((4, 0), "`width` must be a whole number from 1 on. Received: width=0"),
        ((-2, 4), "`height` must .* height=-2"),
        ((4, 2.5), "`width` must .* width=2.5"),
        ((4, None), "`width` must .* width=None"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        BilinearResize(*arguments)
