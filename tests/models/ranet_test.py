import re

import numpy as np
import pytest

from tests.models.network_checks import (
    assert_bfloat16_inside_float32_out,
    assert_every_parameter_gets_a_gradient,
    assert_the_same_when_loaded_again,
)
from tests.tiny_networks import ranet_of_two_scales
from tf_adaptive import RANet, profile, split_stages
from tf_adaptive.errors import InputError


def source_names(model, name):
    """Names, without the stage, of the layers whose outputs a layer reads."""
    (layer,) = (layer for layer in model.layers if without_stage(layer.name) == name)
    return [
        without_stage(tensor._keras_history.operation.name)
        for tensor in layer._inbound_nodes[0].input_tensors
    ]


def without_stage(name):
    return re.sub(r"^stage_\d+_", "", name)


def blocks_of(model, pattern):
    """`{sub-network: {blocks}}` of the layers of a name, both counted from 1."""
    found = {}
    for layer in model.layers:
        match = re.fullmatch(rf"stage_\d+_subnetwork_(\d+)_block_(\d+){pattern}", layer.name)
        if match:
            found.setdefault(int(match[1]), set()).add(int(match[2]))
    return found


def test_presets_are_the_published_ones():
    names = ("layer_step", "layer_growth", "num_channels", "growth_rate", "scales", "scale_growth")
    assert {
        preset: tuple(arguments[name] for name in names)
        for preset, arguments in RANet.presets.items()
    } == {
        "ranet_cifar_lg3": (2, "linear", 16, 6, (1, 2, 3), (4, 2, 1)),
        "ranet_cifar_even4": (4, "even", 16, 6, (1, 2, 3, 3), (4, 2, 1, 1)),
        "ranet_imagenet_4211": (8, "even", 16, 16, (1, 2, 3, 4), (4, 2, 1, 1)),
        "ranet_imagenet_4221": (8, "even", 32, 16, (1, 2, 3, 4), (4, 2, 2, 1)),
    }
    for arguments in RANet.presets.values():
        assert arguments["scale_bottleneck"] == arguments["scale_growth"]
        assert (arguments["num_blocks"], arguments["block_step"]) == (2, 2)


@pytest.mark.parametrize(("preset", "exits"), [("ranet_cifar_lg3", 6), ("ranet_cifar_even4", 8)])
def test_stages_are_the_preset_and_waste_nothing(preset, exits):
    model = RANet.from_preset(preset)
    assert model.input_shape == (None, 32, 32, 3)
    assert [tuple(logits.shape) for logits in model.outputs] == [(None, 10)] * exits
    images = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype("float32")
    state = images
    for stage, expected in zip(split_stages(model), model(images), strict=True):
        logits, state = stage(state)
        np.testing.assert_array_equal(logits, expected)
    # A block hands on all it computes, so that no part of it can wait for a later exit.
    costs = profile(model)
    assert [cost.lazy_macs for cost in costs] == [cost.macs for cost in costs]


# With one layer per block instead of eight, which change nothing but the depth.
@pytest.mark.parametrize(
    ("preset", "stem_channels"),
    [("ranet_imagenet_4211", [64, 32, 16, 16]), ("ranet_imagenet_4221", [128, 64, 64, 32])],
)
def test_imagenet_presets_build(preset, stem_channels):
    model = RANet.from_preset(preset, layer_step=1)
    assert model.input_shape == (None, 224, 224, 3)
    assert [tuple(logits.shape) for logits in model.outputs] == [(None, 1000)] * 8
    stem = [model.get_layer(f"stage_1_stem_subnetwork_{number}").output for number in (1, 2, 3, 4)]
    assert [(tensor.shape[1], tensor.shape[-1]) for tensor in stem] == list(
        zip([7, 14, 28, 56], stem_channels, strict=True)
    )
    last = model.get_layer("stage_8_exit_unit_1")
    assert last.filters == last.input.shape[-1]


# By hand from num_blocks 2 and block_step 1: the sub-networks have 2, 3, 4 and 5 blocks.
@pytest.mark.parametrize(
    ("scales", "exits", "fusion", "halving", "transitions", "stem_sides", "exit_sides"),
    [
        (
            (1, 2, 3),
            [1, 1, 2, 3],
            {2: {1, 2}, 3: {1, 2, 3}},
            {2: {2}, 3: {2, 3}},
            {2: {1}, 3: {1, 2}},
            [4, 8, 16],
            [4] * 4,
        ),
        (
            (1, 2, 3, 3),
            [1, 1, 2, 3, 4],
            {2: {1, 2}, 3: {1, 2, 3}, 4: {1, 2, 3, 4}},
            {2: {2}, 3: {2, 3}, 4: {3, 4}},
            {2: {1}, 3: {1, 2}, 4: {1, 3}},
            [4, 8, 16, 16],
            [4] * 5,
        ),
        (
            (1, 1, 2),
            [1, 1, 2, 3],
            {2: {1, 2}, 3: {1, 2, 3}},
            {3: {3}},
            {3: {2}},
            [8, 8, 16],
            [8] * 4,
        ),
        # A sub-network that has nothing below it cannot halve, however many scales it is given.
        ((2, 3), [1, 1, 2], {2: {1, 2}}, {2: {2}}, {1: {1}, 2: {1, 2}}, [8, 16], [8] * 3),
    ],
)
def test_blocks(scales, exits, fusion, halving, transitions, stem_sides, exit_sides):
    count = len(scales)
    model = ranet_of_two_scales(
        num_blocks=2,
        layer_growth="even",
        layer_step=2,
        scales=scales,
        scale_growth=(1,) * count,
        scale_bottleneck=(1,) * count,
    )
    assert len(model.outputs) == len(exits)
    heads = [model.get_layer(f"stage_{n}_exit_unit_1") for n in range(1, len(exits) + 1)]
    owners = [
        int(re.search(r"subnetwork_(\d+)", head.input._keras_history.operation.name)[1])
        for head in heads
    ]
    assert owners == exits
    assert [head.input.shape[1] for head in heads] == exit_sides
    stem = [model.get_layer(f"stage_1_stem_subnetwork_{h}") for h in range(1, count + 1)]
    assert [layer.output.shape[1] for layer in stem] == stem_sides
    assert blocks_of(model, "_lower") == fusion
    assert blocks_of(model, "_transition") == transitions
    strided = {
        without_stage(layer.name) for layer in model.layers if getattr(layer, "strides", 1) == 2
    }
    assert {name for name in strided if name.startswith("subnetwork")} == {
        # The last of the two layers.
        f"subnetwork_{h}_block_{n}_layer_2_own"
        for h, blocks in halving.items()
        for n in blocks
    }


def test_fusion_layers_read_the_same_numbered_block_before():
    model = ranet_of_two_scales(layer_step=2, layer_growth="even")
    fused = {
        name: source_names(model, f"subnetwork_{name}")[0]
        for name in (
            "2_block_1_layer_1_lower_bottleneck",
            "2_block_1_layer_2_lower_bottleneck",
            "2_block_1_lower",
            "3_block_1_layer_1_lower_bottleneck",
            "3_block_1_layer_2_lower_bottleneck",
            "3_block_1_lower",
            "3_block_2_layer_1_lower_bottleneck",
            "3_block_2_layer_2_lower_bottleneck",
            "3_block_2_lower",
        )
    }
    assert fused == {
        "2_block_1_layer_1_lower_bottleneck": "stem_subnetwork_1",
        "2_block_1_layer_2_lower_bottleneck": "subnetwork_1_block_1_layer_1",
        "2_block_1_lower": "subnetwork_1_block_1_layer_2",
        "3_block_1_layer_1_lower_bottleneck": "stem_subnetwork_2",
        "3_block_1_layer_2_lower_bottleneck": "subnetwork_2_block_1_layer_1",
        # Before what the block adds at its end, and before its transition.
        "3_block_1_lower": "subnetwork_2_block_1_layer_2",
        "3_block_2_layer_1_lower_bottleneck": "subnetwork_2_block_1_transition",
        "3_block_2_layer_2_lower_bottleneck": "subnetwork_2_block_2_layer_1",
        "3_block_2_lower": "subnetwork_2_block_2_layer_2",
    }


def test_a_fusion_block_puts_together():
    model = ranet_of_two_scales(layer_step=2, layer_growth="even")
    # Sub-network 2 begins at 16 pixels and halves in block 1; sub-network 1 has 8.
    expected = {
        "subnetwork_2_block_1_layer_1": [
            "stem_subnetwork_2",
            "subnetwork_2_block_1_layer_1_lower_resize",
            "subnetwork_2_block_1_layer_1_own",
        ],
        "subnetwork_2_block_1_layer_2": [
            "subnetwork_2_block_1_layer_2_resize",
            "subnetwork_2_block_1_layer_2_lower",
            "subnetwork_2_block_1_layer_2_own",
        ],
        "subnetwork_2_block_1_layer_2_resize": ["subnetwork_2_block_1_layer_1"],
        "subnetwork_2_block_1": ["subnetwork_2_block_1_layer_2", "subnetwork_2_block_1_lower"],
        "subnetwork_2_block_1_transition": ["subnetwork_2_block_1"],
        "subnetwork_2_block_2_layer_1": [
            "subnetwork_2_block_1_transition",
            "subnetwork_2_block_2_layer_1_own",
        ],
    }
    assert {name: source_names(model, name) for name in expected} == expected


def test_channels():
    model = ranet_of_two_scales(
        scales=(1, 2),
        scale_growth=(3, 2),
        scale_bottleneck=(2, 4),
        num_channels=8,
        growth_rate=5,
        layer_step=2,
        compress_factor=0.3,
    )
    filters = {
        without_stage(layer.name): layer.filters
        for layer in model.layers
        if hasattr(layer, "filters") and "exit" not in layer.name
    }
    assert filters == {
        "stem_subnetwork_2": 16,
        "stem_subnetwork_1": 24,
        # Growth 15; bottlenecks of at most 2 · 15.
        "subnetwork_1_block_1_layer_1_own_bottleneck": 24,
        "subnetwork_1_block_1_layer_1_own": 15,
        "subnetwork_1_block_1_layer_2_own_bottleneck": 30,
        "subnetwork_1_block_1_layer_2_own": 15,
        # Growth 10, of which 3 from below: at most 2 · 3 and 4 · 7.
        "subnetwork_2_block_1_layer_1_lower_bottleneck": 6,
        "subnetwork_2_block_1_layer_1_lower": 3,
        "subnetwork_2_block_1_layer_1_own_bottleneck": 16,
        "subnetwork_2_block_1_layer_1_own": 7,
        "subnetwork_2_block_1_layer_2_lower_bottleneck": 6,
        "subnetwork_2_block_1_layer_2_lower": 3,
        "subnetwork_2_block_1_layer_2_own_bottleneck": 26,
        "subnetwork_2_block_1_layer_2_own": 7,
        # 0.3 · (16 + 2 · 10), then half of 36 + 10.
        "subnetwork_2_block_1_lower": 10,
        "subnetwork_2_block_1_transition": 23,
        # Four layers of growth 10, bottlenecks of at most 4 · 10.
        "subnetwork_2_block_2_layer_1_own_bottleneck": 23,
        "subnetwork_2_block_2_layer_1_own": 10,
        "subnetwork_2_block_2_layer_2_own_bottleneck": 33,
        "subnetwork_2_block_2_layer_2_own": 10,
        "subnetwork_2_block_2_layer_3_own_bottleneck": 40,
        "subnetwork_2_block_2_layer_3_own": 10,
        "subnetwork_2_block_2_layer_4_own_bottleneck": 40,
        "subnetwork_2_block_2_layer_4_own": 10,
    }


@pytest.mark.parametrize(
    ("stem", "input_shape"),
    [
        ("cifar", (16, 16, 1)),
        ("cifar", (14, 22, 4)),
        ("cifar", (2, 2, 3)),
        ("imagenet", (16, 16, 1)),
        ("imagenet", (72, 40, 4)),
        ("imagenet", (8, 8, 3)),
    ],
)
def test_any_input_shape_that_can_be_halved(stem, input_shape):
    model = ranet_of_two_scales(input_shape=input_shape, stem=stem)
    images = np.random.default_rng(0).standard_normal((2, *input_shape)).astype("float32")
    for logits in model(images):
        assert logits.shape == (2, 5)
        assert np.isfinite(logits).all()


def test_one_sub_network():
    model = ranet_of_two_scales(num_blocks=2, scales=(1,), scale_growth=(1,), scale_bottleneck=(1,))
    assert len(model(np.zeros((1, 16, 16, 3), "float32"))) == 2


def test_saved_and_loaded_again(tmp_path):
    assert_the_same_when_loaded_again(ranet_of_two_scales(dtype="float32", name="a_name"), tmp_path)


def test_bfloat16_inside_float32_out(tmp_path):
    model = ranet_of_two_scales(dtype="mixed_bfloat16")
    assert_bfloat16_inside_float32_out(model)
    assert_the_same_when_loaded_again(model, tmp_path)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_every_trainable_parameter_gets_a_gradient(stem, dtype):
    assert_every_parameter_gets_a_gradient(
        ranet_of_two_scales(stem=stem, input_shape=(32, 32, 3), dtype=dtype)
    )


def test_unknown_preset():
    with pytest.raises(InputError, match="`preset` .* Did you mean 'ranet_cifar_lg3'?"):
        RANet.from_preset("ranet_cifar_lg_3")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (16, 16)}, "`input_shape` must be .* input_shape=\\(16, 16\\)"),
        ({"input_shape": (16, None, 3)}, "`input_shape` must be"),
        ({"num_classes": 1}, "`num_classes` must be a whole number from 2 on.*num_classes=1"),
        ({"num_blocks": 0}, "`num_blocks` must be a whole number from 1 on.*num_blocks=0"),
        ({"num_blocks": 1.5}, "`num_blocks` must be a whole number.*num_blocks=1.5"),
        ({"block_step": 0}, "`block_step` must be a whole number from 1 on.*block_step=0"),
        ({"block_step": 0.5}, "`block_step` must be a whole number.*block_step=0.5"),
        ({"layer_step": 0}, "`layer_step` must be a whole number from 1 on.*layer_step=0"),
        ({"layer_step": 2.0}, "`layer_step` must be a whole number.*layer_step=2.0"),
        ({"layer_growth": "liner"}, "`layer_growth` must be one of .* Did you mean 'linear'"),
        ({"stem": "imagnet"}, "`stem` must be one of .* Did you mean 'imagenet'"),
        ({"num_channels": 0}, "`num_channels` must be .* num_channels=0"),
        ({"growth_rate": 0}, "`growth_rate` must be .* growth_rate=0"),
        (
            {"scale_growth": (2, 1)},
            "`scale_growth` and `scale_bottleneck` must .* scale_growth=\\(2, 1\\)",
        ),
        ({"scale_bottleneck": (2, 1)}, "`scale_growth` and `scale_bottleneck` must"),
        (
            {"scales": (1, 2)},
            "`scales`, `scale_growth` and `scale_bottleneck` must .* scales=\\(1, 2\\)",
        ),
        ({"scales": (), "scale_growth": (), "scale_bottleneck": ()}, "`scale_growth` and"),
        ({"scale_growth": (2, 0, 1)}, "`scale_growth` must be .* scale_growth=0"),
        ({"scale_bottleneck": (2, 1, 0.5)}, "`scale_bottleneck` must be .*bottleneck=0.5"),
        ({"scales": (1, 3, 3)}, "`scales` must rise by 0 or 1 .* Received: \\(1, 3, 3\\)"),
        ({"scales": (2, 2, 1)}, "`scales` must rise by 0 or 1 .* Received: \\(2, 2, 1\\)"),
        ({"scales": (0, 1, 2)}, "`scales` must be a whole number from 1 on.*scales=0"),
        ({"scales": (1, 2.0, 2)}, "`scales` must be a whole number from 1 on.*scales=2.0"),
        (
            {"num_blocks": 1, "scales": (1,), "scale_growth": (1,), "scale_bottleneck": (1,)},
            "`num_blocks` must be 2 or more where there is one sub-network.*num_blocks=1",
        ),
        (
            {"input_shape": (15, 16, 3)},
            "a height and a width that 2 divides.*halved 1 times.*\\(15, 16, 3\\)",
        ),
        ({"input_shape": (16, 18, 3), "scales": (1, 2, 3)}, "that 4 divides.*halved 2 times"),
        ({"input_shape": (12, 16, 3), "stem": "imagenet"}, "that 8 divides.*halved 3 times"),
        # The stem keeps the resolution here; the sub-networks above the first halve it.
        ({"input_shape": (15, 15, 3), "scales": (2, 2, 2)}, "that 2 divides.*halved 1 times"),
        ({"compress_factor": 0}, "`compress_factor` must be above 0 and below 1.*factor=0"),
        ({"compress_factor": 1}, "`compress_factor` must be above 0 and below 1.*factor=1"),
        ({"compress_factor": float("nan")}, "`compress_factor` must be above 0 .*factor=nan"),
        (
            {"compress_factor": 0.2},
            "`compress_factor` must leave a channel .* compress_factor=0.2 of 4 channels",
        ),
        ({"reduction": -0.1}, "`reduction` must be in \\[0, 1\\]. Received: reduction=-0.1"),
        ({"reduction": float("nan")}, "`reduction` must be in"),
        ({"reduction": 0.01}, "`reduction` must leave a channel .* reduction=0.01"),
        ({"reduction": 0}, "`reduction` must leave a channel .* reduction=0"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        ranet_of_two_scales(**arguments)
