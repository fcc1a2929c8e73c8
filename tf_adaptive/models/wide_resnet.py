"""WideResNet: few residual blocks of many channels, for small images."""

import keras

from tf_adaptive.errors import check_whole
from tf_adaptive.layers import ConvUnit
from tf_adaptive.models.presets import WIDE_RESNET_PRESETS
from tf_adaptive.models.published_network import (
    PublishedNetwork,
    check_any_image_shape,
    check_blocks_and_widths,
)
from tf_adaptive.models.units import bare_convolution, pooled_logits, preactivated


@keras.saving.register_keras_serializable(package="tf_adaptive")
class WideResNet(PublishedNetwork):
    """Wide residual network (Zagoruyko and Komodakis 2016), blocks B(3, 3), without dropout.

    A functional model: `model(images)` is the logits `(batch, num_classes)`, float32.
    `WideResNet.from_preset` builds the published configurations, WRN-d-k of d = 6n + 4
    convolutions, n blocks in each of three groups, whose widths are k times 16, 32 and 64.

    A 3×3 stem, groups of residual blocks with normalisation and activation before each
    convolution, and once more after the last block; global average pooling, one linear layer.
    Every group but the first halves the resolution in its first block. A shortcut that changes
    its shape is a 1×1 convolution of the normalised input.

    Args:
        input_shape: `(height, width, channels)` of the images; height and width None for any.
        num_classes: number of classes, 2 or more.
        blocks: number of residual blocks of each group.
        widths: channels of each group.
        stem_channels: channels of the stem.
        dtype: dtype policy of the layers, such as "mixed_bfloat16"; logits are float32 always.
        name: name of the model.

    Attributes:
        presets: arguments of the published configurations, by name.

    Example:
        >>> model = ta.WideResNet.from_preset("wideresnet_28_10", num_classes=100)
        >>> model.output_shape
        (None, 100)
    """

    presets = WIDE_RESNET_PRESETS

    def __init__(
        self,
        *,
        input_shape,
        num_classes,
        blocks=(4, 4, 4),
        widths=(160, 320, 640),
        stem_channels=16,
        dtype=None,
        name="wide_resnet",
    ):
        config = {
            "input_shape": tuple(input_shape),
            "num_classes": num_classes,
            "blocks": tuple(blocks),
            "widths": tuple(widths),
            "stem_channels": stem_channels,
            "dtype": dtype,
            "name": name,
        }
        check_any_image_shape(config["input_shape"])
        check_whole("num_classes", num_classes, least=2)
        check_blocks_and_widths(config["blocks"], config["widths"])
        check_whole("stem_channels", stem_channels, least=1)
        images = keras.Input(input_shape, name="images")
        features = bare_convolution(images, stem_channels, 3, dtype=dtype, name="stem")
        for group, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
            for number in range(1, count + 1):
                features = _preactivated_block(
                    features,
                    width,
                    strides=2 if group > 1 and number == 1 else 1,
                    name=f"group_{group}_block_{number}",
                    dtype=dtype,
                )
        features = preactivated(features, name="last", dtype=dtype)
        super().__init__(images, pooled_logits(features, num_classes, dtype=dtype), config)


def _preactivated_block(features, width, *, strides, name, dtype):
    """Two 3×3 convolutions of the normalised input, added to the input."""
    active = preactivated(features, name=name, dtype=dtype)
    # The second normalisation and activation are those of this unit.
    inner = ConvUnit(width, 3, strides=strides, dtype=dtype, name=f"{name}_convolution_1")(active)
    inner = bare_convolution(inner, width, 3, dtype=dtype, name=f"{name}_convolution_2")
    if strides > 1 or features.shape[-1] != width:
        features = bare_convolution(
            active, width, 1, strides=strides, dtype=dtype, name=f"{name}_projection"
        )
    return keras.layers.Add(dtype=dtype, name=name)([inner, features])
