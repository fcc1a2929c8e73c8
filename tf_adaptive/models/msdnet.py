"""MSDNet: dense connections over several scales, an exit after every block."""

import math

import keras

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.exits.heads import exit_head
from tf_adaptive.layers import ConvUnit
from tf_adaptive.models.presets import MSDNET_PRESETS
from tf_adaptive.models.published_network import (
    PublishedNetwork,
    check_common_arguments,
    check_per_scale,
    reduced,
)
from tf_adaptive.models.units import bottlenecked_unit, imagenet_stem


@keras.saving.register_keras_serializable(package="tf_adaptive")
class MSDNet(PublishedNetwork):
    """Multi-Scale DenseNet (Huang et al. 2018), as the published code builds it.

    A functional model: `model(images)` is the list of the exits' logits, cheapest first, each
    `(batch, num_classes)` float32. `MSDNet.from_preset` builds the published configurations.

    Every layer's name begins with `stage_<block>_`, and every unit is a layer of its own, so that
    `split_stages` can leave out what an exit does not need.

    Args:
        input_shape: `(height, width, channels)` of the images; float32, normalised.
        num_classes: number of classes, 2 or more.
        block_layers: layers of each block; one exit per block, at least two.
        stem: "cifar" (3×3 convolution) or "imagenet" (7×7, stride 2, then max-pooling).
        num_channels: channels of the stem, in units of `scale_growth`.
        growth_rate: channels a layer adds, in units of `scale_growth`.
        scale_growth: factor of the channels at each scale, finest first.
        scale_bottleneck: width of the bottleneck at each scale, in units of the unit's output.
        reduction: share of the channels kept by a transition; 0 for no transitions.
        dtype: dtype policy of the layers, such as "mixed_bfloat16"; logits are float32 always.
        name: name of the model.

    Attributes:
        presets: arguments of the published configurations, by name.

    Example:
        >>> model = ta.MSDNet.from_preset("msdnet_cifar_lingrow5", num_classes=10)
        >>> [tuple(logits.shape) for logits in model(np.zeros((2, 32, 32, 3), "float32"))]
        [(2, 10), (2, 10), (2, 10), (2, 10), (2, 10)]
    """

    presets = MSDNET_PRESETS

    def __init__(
        self,
        *,
        input_shape,
        num_classes,
        block_layers,
        stem="cifar",
        num_channels=16,
        growth_rate=6,
        scale_growth=(1, 2, 4),
        scale_bottleneck=(1, 2, 4),
        reduction=0.5,
        dtype=None,
        name="msdnet",
    ):
        config = {
            "input_shape": tuple(input_shape),
            "num_classes": num_classes,
            "block_layers": tuple(block_layers),
            "stem": stem,
            "num_channels": num_channels,
            "growth_rate": growth_rate,
            "scale_growth": tuple(scale_growth),
            "scale_bottleneck": tuple(scale_bottleneck),
            "reduction": reduction,
            "dtype": dtype,
            "name": name,
        }
        _check_arguments(config)
        num_scales = len(scale_growth)
        num_layers = sum(block_layers)

        images = keras.Input(input_shape, name="images")
        width = num_channels
        maps = _stem(images, stem, [width * growth for growth in scale_growth], dtype)
        logits = []
        layer = 0
        for block, layers in enumerate(block_layers, start=1):
            for _ in range(layers):
                layer += 1
                in_scales, out_scales = _scales_read_and_written(layer, num_layers, num_scales)
                maps = _dense_layer(
                    maps,
                    out_scales,
                    [growth_rate * growth for growth in scale_growth],
                    scale_bottleneck,
                    name=f"stage_{block}_layer_{layer}",
                    dtype=dtype,
                )
                width += growth_rate
                if in_scales > out_scales and reduction > 0:
                    width = reduced(width, reduction)
                    maps = {
                        scale: ConvUnit(
                            width * scale_growth[scale - 1],
                            1,
                            dtype=dtype,
                            name=f"stage_{block}_transition_{layer}_scale_{scale}",
                        )(features)
                        for scale, features in maps.items()
                    }
            coarsest = maps[num_scales]
            logits.append(
                exit_head(
                    coarsest,
                    num_classes,
                    channels=128 if stem == "cifar" else coarsest.shape[-1],
                    exit_number=block,
                    dtype=dtype,
                )
            )
        super().__init__(images, logits, config)


def _check_arguments(config):
    common = ("input_shape", "num_classes", "stem", "num_channels", "growth_rate", "reduction")
    check_common_arguments(**{name: config[name] for name in common})
    scale_growth = config["scale_growth"]
    check_per_scale(scale_growth, config["scale_bottleneck"])
    if len(config["block_layers"]) < 2:
        raise InputError(
            "`block_layers` must give at least two blocks. "
            f"Received: block_layers={config['block_layers']}."
        )
    for layers in config["block_layers"]:
        check_whole("block_layers", layers, least=1)
    if any(config["growth_rate"] * growth < 2 for growth in scale_growth[1:]):
        raise InputError(
            "`growth_rate` times the growth of a coarser scale must be 2 or more, as half of it "
            "comes from the scale above. "
            f"Received: growth_rate={config['growth_rate']}, scale_growth={scale_growth}."
        )


def _scales_read_and_written(layer, num_layers, num_scales):
    """How many of the coarsest scales a layer, counted from 1 over the network, reads, writes."""
    interval = math.ceil(num_layers / num_scales)
    in_scales = num_scales - max(0, layer - 2) // interval
    out_scales = num_scales - (layer - 1) // interval
    return in_scales, out_scales


def _stem(images, kind, channels, dtype):
    """The first feature map of every scale: `{scale: map}`, scale 1 the finest."""
    name = "stage_1_stem_scale_1"
    if kind == "cifar":
        features = ConvUnit(channels[0], 3, dtype=dtype, name=name)(images)
    else:
        features = imagenet_stem(images, channels[0], name=name, dtype=dtype)
    maps = {1: features}
    for scale in range(2, len(channels) + 1):
        maps[scale] = ConvUnit(
            channels[scale - 1], 3, strides=2, dtype=dtype, name=f"stage_1_stem_scale_{scale}"
        )(maps[scale - 1])
    return maps


def _dense_layer(maps, out_scales, growth, bottleneck, *, name, dtype):
    """One layer: new features at each written scale, from it and from the next finer one."""
    num_scales = len(growth)
    written = {}
    for scale in range(num_scales - out_scales + 1, num_scales + 1):
        finer = maps.get(scale - 1)
        channels = growth[scale - 1] if finer is None else growth[scale - 1] // 2
        parts = [maps[scale]]
        if finer is not None:
            parts.append(
                bottlenecked_unit(
                    finer,
                    channels,
                    bottleneck[scale - 2],
                    strides=2,
                    name=f"{name}_scale_{scale}_down",
                    dtype=dtype,
                )
            )
        parts.append(
            bottlenecked_unit(
                maps[scale],
                channels,
                bottleneck[scale - 1],
                strides=1,
                name=f"{name}_scale_{scale}_normal",
                dtype=dtype,
            )
        )
        written[scale] = keras.layers.Concatenate(dtype=dtype, name=f"{name}_scale_{scale}")(parts)
    return written
