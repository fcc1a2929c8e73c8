"""MSDNet: dense connections over several scales, an exit after every block."""

import math

import keras

from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.layers import ConvUnit
from tf_adaptive.models.exit_head import exit_head
from tf_adaptive.models.presets import MSDNET_PRESETS


@keras.saving.register_keras_serializable(package="tf_adaptive")
class MSDNet(keras.Model):
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
        input_shape = tuple(input_shape)
        block_layers = tuple(block_layers)
        scale_growth = tuple(scale_growth)
        scale_bottleneck = tuple(scale_bottleneck)
        check_choice("stem", stem, ("cifar", "imagenet"))
        _check_arguments(
            input_shape,
            num_classes,
            block_layers,
            num_channels,
            growth_rate,
            scale_growth,
            scale_bottleneck,
            reduction,
        )
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
                    width = math.floor(reduction * width)
                    if width == 0:
                        raise InputError(
                            "`reduction` must leave a channel at each transition. "
                            f"Received: reduction={reduction}"
                        )
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
        super().__init__(inputs=images, outputs=logits, name=name)
        self._config = {
            "input_shape": input_shape,
            "num_classes": num_classes,
            "block_layers": block_layers,
            "stem": stem,
            "num_channels": num_channels,
            "growth_rate": growth_rate,
            "scale_growth": scale_growth,
            "scale_bottleneck": scale_bottleneck,
            "reduction": reduction,
            "dtype": keras.dtype_policies.get(dtype).name,
            "name": name,
        }

    @classmethod
    def from_preset(cls, preset, **overrides):
        """A published configuration.

        Args:
            preset: a name such as "msdnet_cifar_lingrow5".
            **overrides: constructor arguments that differ from the preset's, such as
                `num_classes` or `input_shape`.

        Raises:
            InputError: no preset has that name.
        """
        check_choice("preset", preset, cls.presets)
        return cls(**{**cls.presets[preset], **overrides})

    def get_config(self):
        return dict(self._config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def _check_arguments(
    input_shape,
    num_classes,
    block_layers,
    num_channels,
    growth_rate,
    scale_growth,
    scale_bottleneck,
    reduction,
):
    if len(input_shape) != 3 or any(not isinstance(side, int) or side < 1 for side in input_shape):
        raise InputError(
            "`input_shape` must be (height, width, channels), each a whole number of 1 or more. "
            f"Received: input_shape={input_shape}"
        )
    if num_classes < 2:
        raise InputError(f"`num_classes` must be 2 or more. Received: num_classes={num_classes}")
    if len(block_layers) < 2 or any(layers < 1 for layers in block_layers):
        raise InputError(
            "`block_layers` must give at least two blocks of one layer or more each. "
            f"Received: block_layers={block_layers}"
        )
    if num_channels < 1 or growth_rate < 1:
        raise InputError(
            "`num_channels` and `growth_rate` must be 1 or more. "
            f"Received: num_channels={num_channels}, growth_rate={growth_rate}"
        )
    if (
        not scale_growth
        or len(scale_growth) != len(scale_bottleneck)
        or any(factor < 1 for factor in (*scale_growth, *scale_bottleneck))
    ):
        raise InputError(
            "`scale_growth` and `scale_bottleneck` must have one entry of 1 or more per scale. "
            f"Received: scale_growth={scale_growth}, scale_bottleneck={scale_bottleneck}"
        )
    if any(growth_rate * growth < 2 for growth in scale_growth[1:]):
        raise InputError(
            "`growth_rate` times the growth of a coarser scale must be 2 or more, as half of it "
            "comes from the scale above. "
            f"Received: growth_rate={growth_rate}, scale_growth={scale_growth}"
        )
    if not 0 <= reduction <= 1:
        raise InputError(f"`reduction` must be in [0, 1]. Received: reduction={reduction}")


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
        features = ConvUnit(
            channels[0], 7, strides=2, use_bias=True, dtype=dtype, name=f"{name}_convolution"
        )(images)
        # After a ReLU, padding with zeros is padding with −∞.
        features = keras.layers.ZeroPadding2D(1, dtype=dtype, name=f"{name}_padding")(features)
        features = keras.layers.MaxPooling2D(3, 2, dtype=dtype, name=name)(features)
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
                _bottlenecked_unit(
                    finer,
                    channels,
                    bottleneck[scale - 2],
                    strides=2,
                    name=f"{name}_scale_{scale}_down",
                    dtype=dtype,
                )
            )
        parts.append(
            _bottlenecked_unit(
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


def _bottlenecked_unit(features, channels, width, *, strides, name, dtype):
    inner = min(features.shape[-1], width * channels)
    features = ConvUnit(inner, 1, dtype=dtype, name=f"{name}_bottleneck")(features)
    return ConvUnit(channels, 3, strides=strides, dtype=dtype, name=name)(features)
