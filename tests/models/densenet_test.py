import numpy as np
import pytest
import tensorflow as tf

from tests.bounds import ROUNDING, apart
from tests.models.network_checks import (
    assert_bfloat16_inside_float32_out,
    assert_every_parameter_gets_a_gradient,
    assert_stages_and_early_exit_are_the_model,
    assert_the_same_when_folded,
    assert_the_same_when_loaded_again,
)
from tf_adaptive import DenseNet, profile, split_stages
from tf_adaptive.errors import InputError
from tf_adaptive.graph.macs import parameters_of
from tf_adaptive.routing.costs import classifier_macs


def tiny_densenet(**overrides):
    arguments = {
        "input_shape": (16, 16, 3),
        "num_classes": 5,
        "block_layers": (2, 2),
        "growth_rate": 3,
        "stem_channels": 6,
    }
    return DenseNet(**{**arguments, **overrides})


# Millions of parameters of Huang et al. 2017, table 2; MACs of a table of public implementations,
# which count normalisations too, and have another stem in the network without bottlenecks.
@pytest.mark.parametrize(
    ("preset", "depth", "parameters", "published", "macs", "public_macs"),
    [
        ("densenet_cifar_40_12", 40, 1_019_722, "1.0", 267_339_658, None),
        ("densenet_bc_cifar_40_12", 40, 176_122, "0.2", 73_449_010, None),
        ("densenet_bc_cifar_100_12", 100, 769_162, "0.8", 292_377_190, 298.45e6),
        pytest.param(
            *("densenet_bc_cifar_190_40", 190, 25_624_430, "25.6", 9_346_309_910, 9400.45e6),
            marks=pytest.mark.large,
        ),
        pytest.param(
            *("densenet_bc_cifar_250_24", 250, 15_324_406, "15.3", 5_462_307_910, 5519.54e6),
            marks=pytest.mark.large,
        ),
    ],
)
def test_is_the_published_network(preset, depth, parameters, published, macs, public_macs):
    model = DenseNet.from_preset(preset)
    assert parameters_of(model.layers) == parameters
    assert f"{parameters / 1e6:.1f}" == published
    assert classifier_macs(model, 32) == macs
    if public_macs:
        assert 0.97 < macs / public_macs < 1
    convolutions = [layer for layer in model.layers if hasattr(layer, "convolution")]
    assert len(convolutions) + 1 == depth


def test_densenet_mc_of_the_msdnet_paper():
    model = DenseNet.from_preset("densenet_mc_cifar")
    assert [tuple(logits.shape) for logits in model.outputs] == [(None, 100)] * 7
    convolutions = [layer for layer in model.layers if hasattr(layer, "convolution")]
    assert len(convolutions) + 1 == 52
    costs = profile(model)
    # The paper gives 1.3e8 for the whole network.
    assert costs[-1].macs == 129_978_508
    assert f"{costs[-1].macs / 1e8:.1f}" == "1.3"
    assert costs[-1].parameters == 612_196
    assert [cost.lazy_macs for cost in costs] == [cost.macs for cost in costs]
    exits = {layer.name for layer in model.layers if layer.name.endswith("exit_normalization")}
    assert exits == {
        f"block_{block}_layer_{layer}_exit_normalization"
        for block in (1, 2, 3)
        for layer in (6, 12)
    }


def test_exits_read_all_layers_of_their_block_so_far():
    first, second, third = split_stages(tiny_densenet(exit_layers=(1,)))
    # Stem of 6 channels and one layer; the transition's 6, half of 12, and one layer.
    assert first.state.keys() == {"block_1_layer_1"}
    assert first.state["block_1_layer_1"].shape == (None, 16, 16, 9)
    assert second.state["block_2_layer_1"].shape == (None, 8, 8, 9)
    assert third.state == {}


@pytest.mark.parametrize("bottleneck", [True, False])
def test_stages_and_early_exit_are_the_model(bottleneck):
    model = tiny_densenet(exit_layers=(1,), bottleneck=bottleneck)
    assert_stages_and_early_exit_are_the_model(model)


@pytest.mark.parametrize("bottleneck", [True, False])
def test_normalisation_and_activation_come_before_each_convolution(bottleneck):
    model = tiny_densenet(block_layers=(1, 1), bottleneck=bottleneck)
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, array.shape) for array in model.get_weights()])
    images = rng.standard_normal((2, 16, 16, 3)).astype("float32")

    def convolved(x, name):
        return tf.nn.conv2d(x, model.get_layer(name).convolution.kernel.value, 1, "SAME")

    def active(x, norm):
        scale = norm.gamma / np.sqrt(norm.moving_variance + norm.epsilon)
        return tf.nn.relu((x - norm.moving_mean) * scale + norm.beta)

    def layer(x, name):
        new = active(x, model.get_layer(f"{name}_normalization"))
        if bottleneck:
            unit = model.get_layer(f"{name}_bottleneck")
            new = active(convolved(new, unit.name), unit.batch_normalization)
        return tf.concat([x, convolved(new, f"{name}_convolution")], axis=-1)

    x = layer(convolved(images, "stem"), "block_1_layer_1")
    x = active(x, model.get_layer("transition_1_normalization"))
    x = tf.nn.avg_pool2d(convolved(x, "transition_1_convolution"), 2, 2, "VALID")
    x = active(layer(x, "block_2_layer_1"), model.get_layer("last_normalization"))
    linear = model.get_layer("logits")
    expected = tf.reduce_mean(x, axis=(1, 2)) @ linear.kernel.value + linear.bias.value
    assert apart(model(images), expected) < ROUNDING


@pytest.mark.parametrize("input_shape", [(16, 16, 1), (9, 13, 3), (1, 1, 3), (None, None, 3)])
def test_any_input_shape(input_shape):
    model = tiny_densenet(input_shape=input_shape)
    shape = [side or 11 for side in input_shape]
    logits = model(np.random.default_rng(0).standard_normal((2, *shape)).astype("float32"))
    assert logits.shape == (2, 5)
    assert np.isfinite(logits).all()


def test_bfloat16_inside_float32_out_also_when_loaded_again(tmp_path):
    model = tiny_densenet(exit_layers=(1,), name="a_name", dtype="mixed_bfloat16")
    assert_bfloat16_inside_float32_out(model)
    assert_the_same_when_loaded_again(model, tmp_path)


@pytest.mark.parametrize("exit_layers", [(), (1,)])
def test_saved_and_loaded_again(exit_layers, tmp_path):
    assert_the_same_when_loaded_again(tiny_densenet(exit_layers=exit_layers), tmp_path)


def test_every_trainable_parameter_gets_a_gradient():
    assert_every_parameter_gets_a_gradient(tiny_densenet(exit_layers=(1,)))


def test_folding_leaves_the_norms_of_concatenations():
    model = tiny_densenet(block_layers=(1, 1))
    names = ("block_1_layer_1", "transition_1", "block_2_layer_1", "last")
    assert_the_same_when_folded(model, left=[f"{name}_normalization" for name in names])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (32, 32)}, "`input_shape` must be .* input_shape=\\(32, 32\\)"),
        ({"num_classes": 1}, "`num_classes` must be .* num_classes=1"),
        ({"block_layers": ()}, "`block_layers` must give at least one block"),
        ({"block_layers": (2, 0)}, "`block_layers` must be a whole number from 1 on"),
        ({"growth_rate": 0}, "`growth_rate` must be a whole number from 1 on"),
        ({"stem_channels": 0}, "`stem_channels` must be a whole number from 1 on"),
        ({"reduction": 0.0}, "`reduction` must be in \\(0, 1\\]. Received: reduction=0.0"),
        ({"reduction": 0.01}, "`reduction` must leave a channel"),
        ({"exit_layers": (2,)}, "`exit_layers` must be rising and below .* 2 at least"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        tiny_densenet(**arguments)
