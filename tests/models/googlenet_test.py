import numpy as np
import pytest

from tests.models.network_checks import (
    assert_bfloat16_inside_float32_out,
    assert_the_same_when_folded,
    assert_the_same_when_loaded_again,
)
from tf_adaptive import GoogLeNet
from tf_adaptive.errors import InputError
from tf_adaptive.graph.macs import parameters_of
from tf_adaptive.routing.costs import classifier_macs


def small_googlenet(**overrides):
    return GoogLeNet(**{"input_shape": (32, 32, 3), "num_classes": 5, **overrides})


# Parameters of torchvision's network without auxiliary classifiers; with 5×5 kernels, 16 weights
# more of each of their 23,808 pairs of channels.
@pytest.mark.parametrize(
    ("preset", "parameters", "macs"),
    [
        ("googlenet_torchvision", 6_624_904, 1_514_410_776),
        ("googlenet", 6_624_904 + 16 * 23_808, 1_598_706_456),
    ],
)
def test_is_the_published_network(preset, parameters, macs):
    model = GoogLeNet.from_preset(preset)
    assert parameters_of(model.layers) == parameters
    assert classifier_macs(model, 224) == macs
    sizes = {
        "stem_1_pool": (56, 64),
        "stem_2_pool": (28, 192),
        "inception_3b": (28, 480),
        "inception_4e": (14, 832),
        "inception_5b": (7, 1024),
    }
    for name, (side, channels) in sizes.items():
        assert model.get_layer(name).output.shape == (None, side, side, channels)


def test_costs_are_torchvisions():
    # Convolutions and the linear layer, to which ours adds activations and pooling.
    macs = classifier_macs(GoogLeNet.from_preset("googlenet_torchvision"), 224)
    assert 1 < macs / 1.498e9 < 1.015


@pytest.mark.parametrize("size", [(32, 32), (33, 50), (1, 1)])
def test_any_input_size(size):
    model = small_googlenet(input_shape=(None, None, 3))
    logits = model(np.random.default_rng(0).standard_normal((2, *size, 3)).astype("float32"))
    assert logits.shape == (2, 5)
    assert np.isfinite(logits).all()


def test_bfloat16_inside_float32_out_also_when_loaded_again(tmp_path):
    model = small_googlenet(name="a_name", dtype="mixed_bfloat16")
    assert_bfloat16_inside_float32_out(model)
    assert_the_same_when_loaded_again(model, tmp_path)


def test_without_a_batch_norm():
    assert_the_same_when_folded(small_googlenet(), left=[])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (32, 32)}, "`input_shape` must be .* input_shape=\\(32, 32\\)"),
        ({"num_classes": 1}, "`num_classes` must be .* num_classes=1"),
        ({"largest_kernel": 4}, "`largest_kernel` must be odd. Received: largest_kernel=4"),
        ({"largest_kernel": 0}, "`largest_kernel` must be a whole number from 1 on"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        small_googlenet(**arguments)
