import numpy as np
import pytest

from tests.models.network_checks import (
    assert_bfloat16_inside_float32_out,
    assert_every_parameter_gets_a_gradient,
    assert_the_same_when_loaded_again,
)
from tests.tiny_networks import TINY, msdnet_of_late_layers
from tf_adaptive import MSDNet, profile
from tf_adaptive.errors import InputError


def test_macs_of_the_table_in_the_paper():
    costs = profile(MSDNet.from_preset("msdnet_cifar_lingrow7"))
    published = ["6.86", "14.35", "27.29", "48.45", "76.43", "108.85", "137.28"]
    lazy = ["5.96", "12.75", "25.25", "45.82", "75.03", "108.85", "137.28"]
    parameters = ["0.30", "0.65", "1.11", "1.73", "2.38", "3.05", "3.97"]
    assert [f"{cost.macs / 1e6:.2f}" for cost in costs] == published
    assert [f"{cost.lazy_macs / 1e6:.2f}" for cost in costs] == lazy
    assert [f"{cost.parameters / 1e6:.2f}" for cost in costs] == parameters


# Those that no test above builds; every other configuration differs from one of them in depth.
@pytest.mark.parametrize(
    ("preset", "exits", "depth"),
    [
        ("msdnet_cifar_even10", 10, 22),
        ("msdnet_cifar_lingrow8", 8, 36),
        ("msdnet_cifar_narrow4", 4, 8),
    ],
)
def test_presets_build(preset, exits, depth):
    model = MSDNet.from_preset(preset)
    assert [tuple(logits.shape) for logits in model.outputs] == [
        (None, MSDNet.presets[preset]["num_classes"])
    ] * exits
    layers = {layer.name.split("_scale_")[0] for layer in model.layers if "_layer_" in layer.name}
    assert len(layers) == depth


def test_presets_are_the_published_depths():
    ours = (TINY, "msdnet_cifar_narrow4")
    published = {name: each for name, each in MSDNet.presets.items() if name not in ours}
    depths = {name: arguments["block_layers"] for name, arguments in published.items()}
    assert {name: (len(layers), sum(layers)) for name, layers in depths.items()} == {
        "msdnet_cifar_even7": (7, 16),
        "msdnet_cifar_even10": (10, 22),
        "msdnet_cifar_lingrow4": (4, 10),
        "msdnet_cifar_lingrow5": (5, 15),
        "msdnet_cifar_lingrow6": (6, 21),
        "msdnet_cifar_lingrow7": (7, 28),
        "msdnet_cifar_lingrow8": (8, 36),
        "msdnet_imagenet_step4": (5, 20),
        "msdnet_imagenet_step6": (5, 30),
        "msdnet_imagenet_step7": (5, 35),
    }


@pytest.mark.parametrize("input_shape", [(16, 16, 1), (13, 21, 4), (1, 1, 3), (70, 40, 3)])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_any_input_shape(input_shape, stem):
    model = msdnet_of_late_layers(input_shape=input_shape, stem=stem)
    images = np.random.default_rng(0).standard_normal((2, *input_shape)).astype("float32")
    for logits in model(images):
        assert logits.shape == (2, 5)
        assert np.isfinite(logits).all()


def test_no_transitions_without_reduction():
    assert any("transition" in layer.name for layer in msdnet_of_late_layers().layers)
    assert not any(
        "transition" in layer.name for layer in msdnet_of_late_layers(reduction=0).layers
    )


def test_saved_and_loaded_again(tmp_path):
    assert_the_same_when_loaded_again(
        msdnet_of_late_layers(dtype="float32", name="a_name"), tmp_path
    )


def test_bfloat16_inside_float32_out(tmp_path):
    model = msdnet_of_late_layers(dtype="mixed_bfloat16")
    assert_bfloat16_inside_float32_out(model)
    assert_the_same_when_loaded_again(model, tmp_path)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_every_trainable_parameter_gets_a_gradient(stem):
    assert_every_parameter_gets_a_gradient(
        msdnet_of_late_layers(stem=stem, input_shape=(32, 32, 3))
    )


def test_unknown_preset():
    with pytest.raises(InputError, match="`preset` .* Did you mean 'msdnet_cifar_lingrow5'?"):
        MSDNet.from_preset("msdnet_cifar_lingrow_5")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (16, 16)}, "`input_shape` must be .* input_shape=\\(16, 16\\)"),
        ({"input_shape": (16, None, 3)}, "`input_shape` must be"),
        ({"input_shape": (16, 0, 3)}, "`input_shape` must be"),
        ({"num_classes": 1}, "`num_classes` must be a whole number from 2 on.*num_classes=1"),
        ({"block_layers": (3,)}, "`block_layers` must give at least two .*=\\(3,\\)"),
        ({"block_layers": (3, 0)}, "`block_layers` must be a whole number.*block_layers=0"),
        ({"block_layers": (3, 1.5)}, "`block_layers` must be a whole number.*block_layers=1.5"),
        ({"stem": "cfar"}, "`stem` must be one of .* Did you mean 'cifar'"),
        ({"num_channels": 0}, "`num_channels` must be a whole number.*num_channels=0"),
        ({"growth_rate": 0}, "`growth_rate` must be a whole number.*growth_rate=0"),
        ({"growth_rate": 1, "scale_growth": (1, 1)}, "`growth_rate` .* 2 or more"),
        ({"scale_growth": ()}, "`scale_growth` and `scale_bottleneck` must"),
        ({"scale_growth": (1, 2, 4)}, "`scale_growth` and `scale_bottleneck` must"),
        ({"scale_growth": (1, 0)}, "`scale_growth` must be a whole number.*scale_growth=0"),
        ({"scale_bottleneck": (0, 1)}, "`scale_bottleneck` must be .*scale_bottleneck=0"),
        ({"reduction": -0.1}, "`reduction` must be in \\[0, 1\\]. Received: reduction=-0.1"),
        ({"reduction": 1.1}, "`reduction` must be in"),
        ({"reduction": float("nan")}, "`reduction` must be in"),
        ({"reduction": 0.01}, "`reduction` must leave"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        msdnet_of_late_layers(**arguments)
