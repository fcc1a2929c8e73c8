"""RANet: sub-networks from low to high resolution, each fused into the next."""

import itertools
import math

import keras

from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.exits.heads import exit_head
from tf_adaptive.layers import BilinearResize, ConvUnit
from tf_adaptive.models.presets import RANET_PRESETS
from tf_adaptive.models.published_network import (
    PublishedNetwork,
    check_common_arguments,
    check_per_scale,
    reduced,
)
from tf_adaptive.models.units import bottlenecked_unit, imagenet_stem


@keras.saving.register_keras_serializable(package="tf_adaptive")
class RANet(PublishedNetwork):
    """Resolution Adaptive Network (Yang et al. 2020), as the published code builds it.

    A functional model: `model(images)` is the list of the exits' logits, cheapest first, each
    `(batch, num_classes)` float32. `RANet.from_preset` builds the published configurations.

    Sub-network 1 sees the lowest resolution and answers first; every next one sees a finer
    resolution and takes in the features of the one before. Every layer's name begins with
    `stage_<exit>_`.

    Args:
        input_shape: `(height, width, channels)` of the images; float32, normalised.
        num_classes: number of classes, 2 or more.
        num_blocks: blocks of sub-network 1; one exit each.
        block_step: blocks that each next sub-network has more, and its exits.
        layer_step: layers of the first block.
        layer_growth: "even", every block has as many, or "linear", block n has n times as many.
        scales: resolutions that each sub-network runs through, lowest resolution first: 1 or
            more for the first, then each as the one before or one more.
        scale_growth: factor of the channels of each sub-network.
        scale_bottleneck: width of the bottleneck in each sub-network, in units of the output.
        stem: "cifar" (3×3 convolution) or "imagenet" (7×7, stride 2, then max-pooling).
        num_channels: channels of the stem, in units of `scale_growth`.
        growth_rate: channels a layer adds, in units of `scale_growth`.
        reduction: share of the channels kept by a transition, in (0, 1].
        compress_factor: share of a fusion layer's new channels that come from the sub-network
            before, in (0, 1).
        dtype: dtype policy of the layers, such as "mixed_bfloat16"; logits are float32 always.
        name: name of the model.

    Attributes:
        presets: arguments of the published configurations, by name.

    Example:
        >>> len(ta.RANet.from_preset("ranet_cifar_lg3").outputs)
        6
    """

    presets = RANET_PRESETS

    def __init__(
        self,
        *,
        input_shape,
        num_classes,
        num_blocks,
        block_step,
        layer_step,
        layer_growth,
        scales,
        scale_growth,
        scale_bottleneck,
        stem="cifar",
        num_channels=16,
        growth_rate=6,
        reduction=0.5,
        compress_factor=0.25,
        dtype=None,
        name="ranet",
    ):
        config = {
            "input_shape": tuple(input_shape),
            "num_classes": num_classes,
            "num_blocks": num_blocks,
            "block_step": block_step,
            "layer_step": layer_step,
            "layer_growth": layer_growth,
            "scales": tuple(scales),
            "scale_growth": tuple(scale_growth),
            "scale_bottleneck": tuple(scale_bottleneck),
            "stem": stem,
            "num_channels": num_channels,
            "growth_rate": growth_rate,
            "reduction": reduction,
            "compress_factor": compress_factor,
            "dtype": dtype,
            "name": name,
        }
        _check_arguments(config)

        images = keras.Input(input_shape, name="images")
        features = _stem(
            images, stem, [num_channels * factor for factor in scale_growth], scales, dtype
        )
        logits = []
        lower_blocks = []
        block_counts = []
        for index, x in enumerate(features):
            number = index + 1
            count = num_blocks + block_step * index
            # Blocks at which the sub-networks before end, and this one halves its resolution.
            ends = [0, *block_counts]
            halving = ends[max(0, len(ends) - (scales[index] - 1)) :]
            transitions = [i * count // scales[index] for i in range(1, scales[index])]
            blocks = []
            for block in range(1, count + 1):
                unit_name = f"stage_{len(logits) + 1}_subnetwork_{number}_block_{block}"
                layers = layer_step * (block if layer_growth == "linear" else 1)
                growth = growth_rate * scale_growth[index]
                if block <= len(lower_blocks):
                    x, handed_on = _fusion_block(
                        x,
                        lower_blocks[block - 1],
                        layers=layers,
                        growth=growth,
                        bottleneck=scale_bottleneck[index],
                        lower_bottleneck=scale_bottleneck[index - 1],
                        compress_factor=compress_factor,
                        halves=block in halving,
                        name=unit_name,
                        dtype=dtype,
                    )
                else:
                    x, handed_on = _dense_block(
                        x,
                        layers=layers,
                        growth=growth,
                        bottleneck=scale_bottleneck[index],
                        name=unit_name,
                        dtype=dtype,
                    )
                blocks.append(handed_on)
                if block in transitions:
                    x = ConvUnit(
                        reduced(x.shape[-1], reduction),
                        1,
                        dtype=dtype,
                        name=f"{unit_name}_transition",
                    )(x)
                if block > len(lower_blocks):
                    logits.append(
                        exit_head(
                            x,
                            num_classes,
                            channels=128 if stem == "cifar" else x.shape[-1],
                            exit_number=len(logits) + 1,
                            dtype=dtype,
                        )
                    )
            lower_blocks = blocks
            block_counts.append(count)
        super().__init__(images, logits, config)


def _check_arguments(config):
    common = ("input_shape", "num_classes", "stem", "num_channels", "growth_rate", "reduction")
    check_common_arguments(**{name: config[name] for name in common})
    check_choice("layer_growth", config["layer_growth"], ("even", "linear"))
    for name in ("num_blocks", "block_step", "layer_step"):
        check_whole(name, config[name], least=1)
    scale_growth, scales = config["scale_growth"], config["scales"]
    check_per_scale(scale_growth, config["scale_bottleneck"])
    if len(scales) != len(scale_growth):
        raise InputError(
            "`scales`, `scale_growth` and `scale_bottleneck` must have one entry per sub-network. "
            f"Received: scales={scales}, scale_growth={scale_growth}."
        )
    for scale in scales:
        check_whole("scales", scale, least=1)
    if any(after - before not in (0, 1) for before, after in itertools.pairwise(scales)):
        raise InputError(
            f"`scales` must rise by 0 or 1 from sub-network to sub-network. Received: {scales}."
        )
    if config["num_blocks"] + config["block_step"] * (len(scales) - 1) < 2:
        raise InputError(
            "`num_blocks` must be 2 or more where there is one sub-network, as every block has an "
            f"exit. Received: num_blocks={config['num_blocks']}."
        )
    if not 0 < config["compress_factor"] < 1:
        raise InputError(
            "`compress_factor` must be above 0 and below 1. "
            f"Received: compress_factor={config['compress_factor']}."
        )
    from_lower = [
        math.floor(config["compress_factor"] * config["growth_rate"] * factor)
        for factor in scale_growth[1:]
    ]
    if min(from_lower, default=1) < 1:
        raise InputError(
            "`compress_factor` must leave a channel of every fusion layer to the sub-network "
            f"before. Received: compress_factor={config['compress_factor']} of "
            f"{config['growth_rate'] * min(scale_growth[1:])} channels."
        )
    # Between the stem's map and a sub-network's, then within that sub-network.
    halvings = max(scales[-1] - scale + min(scale - 1, index) for index, scale in enumerate(scales))
    factor = 2**halvings * (4 if config["stem"] == "imagenet" else 1)
    height, width, _ = config["input_shape"]
    if height % factor or width % factor:
        raise InputError(
            f"Images must have a height and a width that {factor} divides, as the resolution is "
            f"halved {factor.bit_length() - 1} times. "
            f"Received: input_shape={config['input_shape']}."
        )


def _stem(images, kind, channels, scales, dtype):
    """The input of every sub-network, lowest resolution first."""
    last = len(channels)
    name = "stage_1_stem_subnetwork"
    if kind == "cifar":
        features = ConvUnit(channels[-1], 3, dtype=dtype, name=f"{name}_{last}")(images)
    else:
        features = imagenet_stem(images, channels[-1], name=f"{name}_{last}", dtype=dtype)
    inputs = [features]
    for number in range(last - 1, 0, -1):
        strides = 1 if scales[number - 1] == scales[number] else 2
        features = ConvUnit(
            channels[number - 1], 3, strides=strides, dtype=dtype, name=f"{name}_{number}"
        )(features)
        inputs.insert(0, features)
    return inputs


def _dense_block(x, *, layers, growth, bottleneck, name, dtype):
    """Layers that each add features; gives the last map and what the next sub-network reads."""
    handed_on = [x]
    for layer in range(1, layers + 1):
        own = bottlenecked_unit(
            x, growth, bottleneck, strides=1, name=f"{name}_layer_{layer}_own", dtype=dtype
        )
        x = _concatenate([x, own], f"{name}_layer_{layer}", dtype)
        handed_on.append(x)
    return x, handed_on


def _fusion_block(
    x, lower, *, layers, growth, bottleneck, lower_bottleneck, compress_factor, halves, name, dtype
):
    """Layers that each add features from this map and from the sub-network before.

    Gives the last map and what the next sub-network reads.
    """
    start = x.shape[-1]
    from_lower = math.floor(compress_factor * growth)
    handed_on = [x]
    for layer in range(1, layers + 1):
        layer_name = f"{name}_layer_{layer}"
        lower_unit = bottlenecked_unit(
            lower[layer - 1],
            from_lower,
            lower_bottleneck,
            strides=1,
            name=f"{layer_name}_lower",
            dtype=dtype,
        )
        own = bottlenecked_unit(
            x,
            growth - from_lower,
            bottleneck,
            strides=2 if halves and layer == layers else 1,
            name=f"{layer_name}_own",
            dtype=dtype,
        )
        parts = [
            _resized_like(own, x, f"{layer_name}_resize", dtype),
            _resized_like(own, lower_unit, f"{layer_name}_lower_resize", dtype),
            own,
        ]
        x = _concatenate(parts, layer_name, dtype)
        handed_on.append(x)
    compressed = ConvUnit(
        math.floor(compress_factor * (start + layers * growth)),
        1,
        dtype=dtype,
        name=f"{name}_lower",
    )(lower[layers])
    compressed = _resized_like(x, compressed, f"{name}_lower_resize", dtype)
    return _concatenate([x, compressed], name, dtype), handed_on


def _resized_like(wanted, features, name, dtype):
    height, width = wanted.shape[1:3]
    if features.shape[1:3] == (height, width):
        return features
    return BilinearResize(height, width, dtype=dtype, name=name)(features)


def _concatenate(parts, name, dtype):
    return keras.layers.Concatenate(dtype=dtype, name=name)(parts)
