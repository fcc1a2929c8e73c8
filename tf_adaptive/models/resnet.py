"""ResNet: residual blocks over falling resolution, for images of any size; exits where wanted."""

import keras

from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.layers import ConvUnit, PaddedShortcut
from tf_adaptive.models.presets import RESNET_PRESETS
from tf_adaptive.models.published_network import (
    PublishedNetwork,
    check_any_image_shape,
    check_blocks_and_widths,
    check_exit_places,
)
from tf_adaptive.models.units import imagenet_stem, pooled_logits


@keras.saving.register_keras_serializable(package="tf_adaptive")
class ResNet(PublishedNetwork):
    """Residual network (He et al. 2016), as torchvision builds it, or as the paper does for CIFAR.

    A functional model: `model(images)` is the logits `(batch, num_classes)`, float32, or with
    `exit_blocks` the list of the exits' logits, cheapest first. `ResNet.from_preset` builds the
    usual configurations.

    A stem, groups of residual blocks (any number of them), global average pooling, one linear
    layer. Every group but the first halves the resolution in its first block; a bottleneck has
    that stride on its 3×3 convolution ("v1.5"), where the paper has it on the 1×1.

    Args:
        input_shape: `(height, width, channels)` of the images; height and width None for any.
        num_classes: number of classes, 2 or more.
        blocks: number of residual blocks of each group.
        block: "basic", two 3×3 convolutions, or "bottleneck", 1×1, 3×3, and 1×1 to four times
            the width.
        widths: channels of the 3×3 convolutions of each group.
        stem: "imagenet" (7×7 of stride 2, then 3×3 max-pooling of stride 2) or "cifar" (3×3).
        shortcut: how the input of a block gets the shape of its output: "projection" (a 1×1
            convolution, the paper's option B) or "padded" (`PaddedShortcut`, option A).
        exit_blocks: blocks of each group, counted from 1, after which there is an exit, besides
            that at the end: global average pooling and one linear layer. () for no others.
        dtype: dtype policy of the layers, such as "mixed_bfloat16"; logits are float32 always.
        name: name of the model.

    Attributes:
        presets: arguments of the usual configurations, by name.

    Example:
        >>> model = ta.ResNet.from_preset("resnet_cifar_56", num_classes=100)
        >>> model.output_shape
        (None, 100)
    """

    presets = RESNET_PRESETS

    def __init__(
        self,
        *,
        input_shape,
        num_classes,
        blocks=(3, 4, 6, 3),
        block="bottleneck",
        widths=(64, 128, 256, 512),
        stem="imagenet",
        shortcut="projection",
        exit_blocks=(),
        dtype=None,
        name="resnet",
    ):
        config = {
            "input_shape": tuple(input_shape),
            "num_classes": num_classes,
            "blocks": tuple(blocks),
            "block": block,
            "widths": tuple(widths),
            "stem": stem,
            "shortcut": shortcut,
            "exit_blocks": tuple(exit_blocks),
            "dtype": dtype,
            "name": name,
        }
        _check_arguments(config)
        images = keras.Input(input_shape, name="images")
        if stem == "cifar":
            features = ConvUnit(widths[0], 3, dtype=dtype, name="stem_convolution")(images)
        else:
            features = imagenet_stem(images, widths[0], use_bias=False, name="stem", dtype=dtype)
        exits = []
        for group, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
            for number in range(1, count + 1):
                features = _residual_block(
                    features,
                    _convolutions(block, width),
                    strides=2 if group > 1 and number == 1 else 1,
                    shortcut=shortcut,
                    name=f"group_{group}_block_{number}",
                    dtype=dtype,
                )
                if number in exit_blocks:
                    exits.append(
                        pooled_logits(
                            features, num_classes, exit_number=len(exits) + 1, dtype=dtype
                        )
                    )
        last = len(exits) + 1 if exits else None
        logits = pooled_logits(features, num_classes, exit_number=last, dtype=dtype)
        super().__init__(images, [*exits, logits] if exits else logits, config)


def _check_arguments(config):
    check_any_image_shape(config["input_shape"])
    check_whole("num_classes", config["num_classes"], least=2)
    check_choice("block", config["block"], ("basic", "bottleneck"))
    check_choice("stem", config["stem"], ("cifar", "imagenet"))
    check_choice("shortcut", config["shortcut"], ("projection", "padded"))
    check_blocks_and_widths(config["blocks"], config["widths"])
    check_exit_places("exit_blocks", config["exit_blocks"], min(config["blocks"]))
    widths = list(config["widths"])
    if config["shortcut"] == "padded" and widths != sorted(widths):
        raise InputError(
            "`widths` must not fall where shortcuts are padded. "
            f"Received: widths={config['widths']}, shortcut='padded'."
        )


def _convolutions(block, width):
    """`(kernel size, channels)` of each convolution of a block."""
    if block == "basic":
        return [(3, width), (3, width)]
    return [(1, width), (3, width), (1, 4 * width)]


def _residual_block(features, convolutions, *, strides, shortcut, name, dtype):
    """Convolutions whose result is added to the input, the first 3×3 with the stride."""
    inner = features
    first_3x3 = [size for size, _ in convolutions].index(3)
    for index, (kernel_size, channels) in enumerate(convolutions):
        inner = ConvUnit(
            channels,
            kernel_size,
            strides=strides if index == first_3x3 else 1,
            activation="linear" if index == len(convolutions) - 1 else "relu",
            dtype=dtype,
            name=f"{name}_unit_{index + 1}",
        )(inner)
    if strides > 1 or features.shape[-1] != channels:
        if shortcut == "padded":
            same_shape = PaddedShortcut(
                channels, strides=strides, dtype=dtype, name=f"{name}_shortcut"
            )
        else:
            same_shape = ConvUnit(
                channels,
                1,
                strides=strides,
                activation="linear",
                dtype=dtype,
                name=f"{name}_shortcut",
            )
        features = same_shape(features)
    features = keras.layers.Add(dtype=dtype, name=f"{name}_sum")([inner, features])
    return keras.layers.ReLU(dtype=dtype, name=name)(features)
