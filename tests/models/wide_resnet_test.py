import numpy as np
import pytest
import tensorflow as tf

from tests.bounds import ROUNDING, apart
from tests.models.network_checks import (
    assert_bfloat16_inside_float32_out,
    assert_every_parameter_gets_a_gradient,
    assert_the_same_when_folded,
    assert_the_same_when_loaded_again,
)
from tf_adaptive import WideResNet, load_pytorch_weights
from tf_adaptive.errors import InputError
from tf_adaptive.graph.macs import parameters_of
from tf_adaptive.routing.costs import classifier_macs


def tiny_wide_resnet(**overrides):
    arguments = {
        "input_shape": (16, 16, 3),
        "num_classes": 5,
        "blocks": (1, 2),
        "widths": (4, 8),
        "stem_channels": 4,
    }
    return WideResNet(**{**arguments, **overrides})


# Millions of parameters of Zagoruyko and Komodakis 2016, tables 4 and 5.
@pytest.mark.parametrize(
    ("preset", "parameters", "published", "macs"),
    [
        ("wideresnet_16_8", 10_961_370, "11.0", 1_549_112_330),
        ("wideresnet_28_10", 36_479_194, "36.5", 5_245_679_882),
        ("wideresnet_40_4", 8_949_210, "8.9", 1_299_991_050),
    ],
)
def test_is_the_published_network(preset, parameters, published, macs):
    model = WideResNet.from_preset(preset)
    assert parameters_of(model.layers) == parameters
    assert f"{parameters / 1e6:.1f}" == published
    assert classifier_macs(model, 32) == macs


def test_costs_are_those_of_public_implementations():
    model = WideResNet.from_preset("wideresnet_28_10")
    assert classifier_macs(model, 32) == pytest.approx(5246.98e6, rel=1e-3)


def test_normalisation_and_activation_come_before_each_convolution():
    model = tiny_wide_resnet(blocks=(1,), widths=(6,))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, array.shape) for array in model.get_weights()])
    images = rng.standard_normal((2, 16, 16, 3)).astype("float32")

    def convolved(x, name):
        return tf.nn.conv2d(x, model.get_layer(name).convolution.kernel.value, 1, "SAME")

    def active(x, norm):
        scale = norm.gamma / np.sqrt(norm.moving_variance + norm.epsilon)
        return tf.nn.relu((x - norm.moving_mean) * scale + norm.beta)

    block = "group_1_block_1"
    stem = convolved(images, "stem")
    first = active(stem, model.get_layer(f"{block}_normalization"))
    inner = convolved(first, f"{block}_convolution_1")
    inner = active(inner, model.get_layer(f"{block}_convolution_1").batch_normalization)
    inner = convolved(inner, f"{block}_convolution_2")
    added = inner + convolved(first, f"{block}_projection")
    pooled = tf.reduce_mean(active(added, model.get_layer("last_normalization")), axis=(1, 2))
    linear = model.get_layer("logits")
    expected = pooled @ linear.kernel.value + linear.bias.value
    assert apart(model(images), expected) < ROUNDING


@pytest.mark.parametrize("size", [(16, 16), (9, 14), (1, 1)])
def test_any_input_size(size):
    model = tiny_wide_resnet(input_shape=(None, None, 3))
    logits = model(np.random.default_rng(0).standard_normal((2, *size, 3)).astype("float32"))
    assert logits.shape == (2, 5)
    assert np.isfinite(logits).all()


def test_bfloat16_inside_float32_out_also_when_loaded_again(tmp_path):
    model = tiny_wide_resnet(name="a_name", dtype="mixed_bfloat16")
    assert_bfloat16_inside_float32_out(model)
    assert_the_same_when_loaded_again(model, tmp_path)


def test_every_trainable_parameter_gets_a_gradient():
    assert_every_parameter_gets_a_gradient(tiny_wide_resnet())


def test_folding_leaves_the_norms_of_sums():
    blocks = ("group_1_block_1", "group_2_block_1", "group_2_block_2", "last")
    assert_the_same_when_folded(
        tiny_wide_resnet(), left=[f"{name}_normalization" for name in blocks]
    )


def test_no_pytorch_weights_of_another_network():
    with pytest.raises(InputError, match="has no layers of one"):
        load_pytorch_weights(tiny_wide_resnet(), {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (32, 32)}, "`input_shape` must be .* input_shape=\\(32, 32\\)"),
        ({"num_classes": 1}, "`num_classes` must be .* num_classes=1"),
        ({"blocks": (1,)}, "`blocks` and `widths` must have one entry per group"),
        ({"widths": (4, 0)}, "`widths` must be a whole number from 1 on"),
        ({"stem_channels": 0}, "`stem_channels` must be a whole number from 1 on"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        tiny_wide_resnet(**arguments)


def test_unknown_preset():
    with pytest.raises(InputError, match="`preset` must be .* Did you mean 'wideresnet_28_10'"):
        WideResNet.from_preset("wide_resnet_28_10")
