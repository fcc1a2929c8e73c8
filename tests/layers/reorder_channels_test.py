import keras
import numpy as np
import pytest

from tf_adaptive import InputError
from tf_adaptive.layers import ReorderChannels

IMAGES = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")


def test_channels_are_the_named_ones():
    np.testing.assert_array_equal(ReorderChannels((2, 1, 0))(IMAGES), IMAGES[..., ::-1])
    np.testing.assert_array_equal(ReorderChannels((1, 2, 0))(IMAGES), IMAGES[..., [1, 2, 0]])


def test_saved_and_loaded_again(tmp_path):
    images = keras.Input((4, 4, 3))
    model = keras.Model(images, ReorderChannels((2, 0, 1))(images))
    assert model.output.shape == (None, 4, 4, 3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(IMAGES), IMAGES[..., [2, 0, 1]])


@pytest.mark.parametrize("order", [(0, 1, 1), (1, 2, 3), (0, 2)])
def test_refuses_what_is_no_order(order):
    with pytest.raises(InputError, match="`order` must have every channel's number once"):
        ReorderChannels(order)
