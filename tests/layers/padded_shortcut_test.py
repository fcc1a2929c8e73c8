import numpy as np
import pytest

from tf_adaptive.errors import InputError
from tf_adaptive.layers import PaddedShortcut


@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 1)])
@pytest.mark.parametrize("strides", [1, 2])
def test_every_second_pixel_and_channels_of_zeros(size, strides):
    maps = np.random.default_rng(0).standard_normal((2, *size, 3)).astype("float32")
    layer = PaddedShortcut(5, strides=strides)
    answer = np.asarray(layer(maps))
    np.testing.assert_array_equal(answer[..., :3], maps[:, ::strides, ::strides])
    np.testing.assert_array_equal(answer[..., 3:], 0)
    assert answer.shape == layer.compute_output_shape(maps.shape)
    assert layer.weights == []


def test_unknown_sides_stay_unknown():
    assert PaddedShortcut(4).compute_output_shape((None, None, 7, 2)) == (None, None, 7, 4)


def test_comes_back_from_its_configuration():
    layer = PaddedShortcut(4, strides=2, name="a_name", dtype="mixed_bfloat16")
    assert PaddedShortcut.from_config(layer.get_config()).get_config() == layer.get_config()


def test_refuses():
    with pytest.raises(InputError, match="`strides` must be a whole number from 1 on"):
        PaddedShortcut(4, strides=0)
    with pytest.raises(InputError, match="`filters` must be a whole number from 3 on"):
        PaddedShortcut(2)(np.zeros((1, 4, 4, 3)))
