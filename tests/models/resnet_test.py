import numpy as np
import pytest
import tensorflow as tf

from tests.models.network_checks import (
    assert_bfloat16_inside_float32_out,
    assert_every_parameter_gets_a_gradient,
    assert_stages_and_early_exit_are_the_model,
    assert_the_same_when_folded,
    assert_the_same_when_loaded_again,
)
from tf_adaptive import profile
from tf_adaptive.errors import InputError
from tf_adaptive.graph.macs import parameters_of
from tf_adaptive.models import ResNet
from tf_adaptive.models.pytorch_weights import load_pytorch_weights
from tf_adaptive.routing.costs import classifier_macs


def tiny_resnet(**overrides):
    arguments = {
        "input_shape": (32, 32, 3),
        "num_classes": 5,
        "blocks": (1, 2),
        "block": "basic",
        "widths": (4, 8),
    }
    return ResNet(**{**arguments, **overrides})


# Parameters that torchvision gives for its networks; MACs of convolutions and the linear layer
# that are given for them at 224, to which ours add activations and pooling.
@pytest.mark.parametrize(
    ("preset", "parameters", "gigamacs"),
    [
        ("resnet18", 11_689_512, 1.814),
        ("resnet34", 21_797_672, 3.664),
        ("resnet50", 25_557_032, 4.089),
        ("resnet101", 44_549_160, 7.801),
    ],
)
def test_is_the_published_network(preset, parameters, gigamacs):
    model = ResNet.from_preset(preset)
    assert parameters_of(model.layers) == parameters
    assert 1 < classifier_macs(model, 224) / (gigamacs * 1e9) < 1.005


# The millions of He et al. 2016, table 6, and what public implementations of option A count.
@pytest.mark.parametrize(
    ("depth", "parameters", "published", "macs"),
    [
        (20, 269_722, "0.27", 40_743_562),
        (32, 464_154, "0.46", 69_169_802),
        (44, 658_586, "0.66", 97_596_042),
        (56, 853_018, "0.85", 126_022_282),
        (110, 1_727_962, "1.73", 253_940_362),
    ],
)
def test_is_the_published_network_for_cifar(depth, parameters, published, macs):
    model = ResNet.from_preset(f"resnet_cifar_{depth}")
    assert parameters_of(model.layers) == parameters
    assert f"{parameters / 1e6:.2f}" == published
    assert classifier_macs(model, 32) == macs
    convolutions = [layer for layer in model.layers if hasattr(layer, "convolution")]
    assert len(convolutions) + 1 == depth


# From a table of public implementations, which have option B and count normalisations too.
@pytest.mark.parametrize(("depth", "megamacs"), [(20, 41.29), (56, 127.06), (110, 255.70)])
def test_costs_for_cifar_are_the_published_ones(depth, megamacs):
    model = ResNet.from_preset(f"resnet_cifar_{depth}", shortcut="projection")
    assert 0.99 < classifier_macs(model, 32) / (megamacs * 1e6) < 1


def test_resnet_mc_of_the_msdnet_paper():
    model = ResNet.from_preset("resnet_mc_cifar")
    assert [tuple(logits.shape) for logits in model.outputs] == [(None, 100)] * 7
    convolutions = [layer for layer in model.layers if hasattr(layer, "convolution")]
    assert len(convolutions) + 1 == 62
    read = [
        layer.input._keras_history.operation.name
        for layer in model.layers
        if layer.name.startswith("features_")
    ]
    places = [(group, block) for group in (1, 2, 3) for block in (4, 8)]
    assert read == [f"group_{group}_block_{block}" for group, block in (*places, (3, 10))]
    costs = profile(model)
    assert [cost.macs for cost in costs] == [cost.lazy_macs for cost in costs]
    assert costs[0].macs == 19_482_276
    assert (costs[-1].macs, costs[-1].parameters) == (140_321_596, 979_084)


def test_with_exits_stages_and_early_exit_are_the_model():
    model = tiny_resnet(blocks=(2, 2), exit_blocks=(1,), stem="cifar", shortcut="padded")
    assert len(model.outputs) == 3
    assert_stages_and_early_exit_are_the_model(model)


def test_with_exits_saved_and_loaded_again(tmp_path):
    model = tiny_resnet(blocks=(2, 2), exit_blocks=(1,), stem="cifar", shortcut="padded")
    assert_the_same_when_loaded_again(model, tmp_path)


def test_with_exits_the_end_is_the_network_without():
    arguments = {"blocks": (2, 2), "stem": "cifar", "shortcut": "padded"}
    with_exits = tiny_resnet(**arguments, exit_blocks=(1,))
    static = tiny_resnet(**arguments)
    for layer in static.layers:
        name = {"features": "features_3", "logits": "logits_3"}.get(layer.name, layer.name)
        layer.set_weights(with_exits.get_layer(name).get_weights())
    images = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(static(images), with_exits(images)[-1])


def test_for_cifar_without_a_batch_norm():
    assert_the_same_when_folded(
        tiny_resnet(blocks=(2, 2), exit_blocks=(1,), stem="cifar", shortcut="padded"), left=[]
    )


def test_configuration_of_before_the_networks_for_cifar():
    config = ResNet.from_preset("resnet18").get_config()
    for added in ("stem", "shortcut", "exit_blocks"):
        config.pop(added)
    model = ResNet.from_config(config)
    assert parameters_of(model.layers) == 11_689_512


def test_no_pytorch_weights_of_another_network():
    with pytest.raises(InputError, match="has no layers of one"):
        load_pytorch_weights(tiny_resnet(blocks=(2, 2), exit_blocks=(1,)), {})


def test_small_preset_for_grey_images():
    model = ResNet.from_preset("resnet6_grey")
    assert model.output_shape == (None, 10)
    assert classifier_macs(model, 96) == pytest.approx(83.3e6, rel=1e-3)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("size", [(32, 32), (21, 40), (1, 1)])
def test_any_input_size(block, size):
    model = tiny_resnet(block=block, input_shape=(None, None, 3))
    images = np.random.default_rng(0).standard_normal((2, *size, 3)).astype("float32")
    logits = model(images)
    assert logits.shape == (2, 5)
    assert np.isfinite(logits).all()


def torchvision_arrays(blocks, widths, convolutions, expansion, num_classes):
    """Random arrays under torchvision's names, in PyTorch's order of axes."""
    rng = np.random.default_rng(0)
    arrays = {}

    def unit(convolution, normalization, outputs, inputs, size):
        scale = np.sqrt(2 / (inputs * size**2))
        arrays[f"{convolution}.weight"] = scale * rng.standard_normal((outputs, inputs, size, size))
        arrays[f"{normalization}.weight"] = rng.uniform(0.5, 1.5, outputs)
        arrays[f"{normalization}.bias"] = rng.normal(0, 0.2, outputs)
        arrays[f"{normalization}.running_mean"] = rng.normal(0, 0.2, outputs)
        arrays[f"{normalization}.running_var"] = rng.uniform(0.5, 1.5, outputs)
        arrays[f"{normalization}.num_batches_tracked"] = np.array(1)

    unit("conv1", "bn1", widths[0], 3, 7)
    channels = widths[0]
    for layer, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
        for block in range(count):
            prefix, before = f"layer{layer}.{block}", channels
            for number, (size, factor) in enumerate(convolutions, start=1):
                unit(
                    f"{prefix}.conv{number}",
                    f"{prefix}.bn{number}",
                    factor * width,
                    channels,
                    size,
                )
                channels = factor * width
            if block == 0 and (layer > 1 or before != channels):
                unit(f"{prefix}.downsample.0", f"{prefix}.downsample.1", channels, before, 1)
    arrays["fc.weight"] = rng.standard_normal((num_classes, channels))
    arrays["fc.bias"] = rng.standard_normal(num_classes)
    assert channels == expansion * widths[-1]
    return arrays


def torchvision_forward(arrays, images, blocks, convolutions, stride_at):
    """ResNet written out after torchvision, on TensorFlow's operations, NCHW weights."""

    def unit(x, convolution, normalization, strides):
        kernel = arrays[f"{convolution}.weight"].transpose(2, 3, 1, 0)
        side = kernel.shape[0] // 2
        x = tf.nn.conv2d(x, kernel, strides, [[0, 0], [side, side], [side, side], [0, 0]])
        scale, shift, mean, variance = (
            arrays[f"{normalization}.{part}"]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift

    x = tf.nn.relu(unit(tf.constant(images), "conv1", "bn1", 2))
    x = tf.nn.max_pool2d(x, 3, 2, [[0, 0], [1, 1], [1, 1], [0, 0]])
    for layer, count in enumerate(blocks, start=1):
        for block in range(count):
            prefix, inner = f"layer{layer}.{block}", x
            strides = 2 if layer > 1 and block == 0 else 1
            for number in range(1, len(convolutions) + 1):
                inner = unit(
                    inner,
                    f"{prefix}.conv{number}",
                    f"{prefix}.bn{number}",
                    strides if number == stride_at else 1,
                )
                if number < len(convolutions):
                    inner = tf.nn.relu(inner)
            if f"{prefix}.downsample.0.weight" in arrays:
                x = unit(x, f"{prefix}.downsample.0", f"{prefix}.downsample.1", strides)
            x = tf.nn.relu(inner + x)
    x = tf.reduce_mean(x, axis=(1, 2))
    return x @ arrays["fc.weight"].T + arrays["fc.bias"]


@pytest.mark.parametrize(
    ("block", "convolutions", "expansion", "stride_at"),
    [
        ("basic", [(3, 1), (3, 1)], 1, 1),
        ("bottleneck", [(1, 1), (3, 1), (1, 4)], 4, 2),
    ],
)
def test_takes_weights_of_torchvision_and_computes_the_same(
    block, convolutions, expansion, stride_at
):
    blocks, widths = (2, 1, 2), (4, 6, 8)
    arrays = torchvision_arrays(blocks, widths, convolutions, expansion, num_classes=7)
    model = tiny_resnet(block=block, blocks=blocks, widths=widths, num_classes=7)
    load_pytorch_weights(model, arrays)
    images = np.random.default_rng(1).standard_normal((2, 32, 32, 3))
    expected = torchvision_forward(arrays, images, blocks, convolutions, stride_at)
    np.testing.assert_allclose(model(images.astype("float32")), expected, rtol=1e-3, atol=1e-4)


def test_bfloat16_inside_float32_out_also_when_loaded_again(tmp_path):
    model = tiny_resnet(input_shape=(None, None, 3), name="a_name", dtype="mixed_bfloat16")
    assert_bfloat16_inside_float32_out(model)
    assert_the_same_when_loaded_again(model, tmp_path)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_every_trainable_parameter_gets_a_gradient(block):
    assert_every_parameter_gets_a_gradient(tiny_resnet(block=block))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (32, 32)}, "`input_shape` must be .* input_shape=\\(32, 32\\)"),
        ({"input_shape": (32, 32, None)}, "`input_shape` must be"),
        ({"input_shape": (0, 32, 3)}, "`input_shape` must be .* input_shape=0"),
        ({"num_classes": 1}, "`num_classes` must be .* num_classes=1"),
        ({"block": "botleneck"}, "`block` must be one of .* Did you mean 'bottleneck'"),
        ({"blocks": ()}, "`blocks` and `widths` must have one entry per group. .* blocks=\\(\\)"),
        ({"blocks": (1, 1, 1)}, "`blocks` and `widths` must have one entry per group"),
        ({"blocks": (1, 0)}, "`blocks` must be a whole number from 1 on. Received: blocks=0"),
        ({"widths": (4, 0)}, "`widths` must be a whole number from 1 on. Received: widths=0"),
        ({"stem": "cifar10"}, "`stem` must be one of .* Did you mean 'cifar'"),
        ({"shortcut": "padding"}, "`shortcut` must be one of .* Did you mean 'padded'"),
        ({"shortcut": "padded", "widths": (8, 4)}, "`widths` must not fall .*widths=\\(8, 4\\)"),
        ({"exit_blocks": (1,)}, "`exit_blocks` must be rising and below .* 1 at least. Received"),
        ({"blocks": (4, 4), "exit_blocks": (2, 1)}, "`exit_blocks` must be rising"),
        ({"blocks": (4, 4), "exit_blocks": (0,)}, "`exit_blocks` must be a whole number from 1"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        tiny_resnet(**arguments)


def test_unknown_preset():
    with pytest.raises(InputError, match="`preset` must be one of .* Did you mean 'resnet50'"):
        ResNet.from_preset("resnet_50")
