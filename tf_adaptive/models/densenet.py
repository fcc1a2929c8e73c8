"""DenseNet for small images: every layer of a block reads all that were before it."""

import keras

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.layers import ConvUnit
from tf_adaptive.models.presets import DENSENET_PRESETS
from tf_adaptive.models.published_network import (
    PublishedNetwork,
    check_any_image_shape,
    check_exit_places,
    reduced,
)
from tf_adaptive.models.units import bare_convolution, pooled_logits, preactivated


@keras.saving.register_keras_serializable(package="tf_adaptive")
class DenseNet(PublishedNetwork):
    """Densely connected network for CIFAR (Huang et al. 2017), with exits along it where wanted.

    A functional model: `model(images)` is the logits `(batch, num_classes)`, float32, or with
    `exit_layers` the list of the exits' logits, cheapest first. `DenseNet.from_preset` builds the
    published configurations; ImageNet's are in `keras.applications`.

    A 3×3 stem, blocks of layers that add `growth_rate` channels to what they read, with
    normalisation and activation before each convolution, and a transition between blocks: a 1×1
    convolution and 2×2 average pooling. Every exit normalises all features of its block so far;
    then come ReLU, global average pooling and one linear layer, as at the end of the network.

    Args:
        input_shape: `(height, width, channels)` of the images; height and width None for any.
        num_classes: number of classes, 2 or more.
        block_layers: number of layers of each block.
        growth_rate: k, channels that a layer adds.
        stem_channels: channels of the stem.
        bottleneck: whether a layer has a 1×1 convolution to four times the growth rate before its
            3×3 convolution (DenseNet-B).
        reduction: share of the channels kept by a transition, in (0, 1]; 0.5 for DenseNet-C.
        exit_layers: layers of each block, counted from 1, after which there is an exit, besides
            that at the end; () for no others.
        dtype: dtype policy of the layers, such as "mixed_bfloat16"; logits are float32 always.
        name: name of the model.

    Attributes:
        presets: arguments of the published configurations, by name.

    Example:
        >>> model = ta.DenseNet.from_preset("densenet_bc_cifar_100_12", num_classes=100)
        >>> model.output_shape
        (None, 100)
    """

    presets = DENSENET_PRESETS

    def __init__(
        self,
        *,
        input_shape,
        num_classes,
        block_layers=(16, 16, 16),
        growth_rate=12,
        stem_channels=24,
        bottleneck=True,
        reduction=0.5,
        exit_layers=(),
        dtype=None,
        name="densenet",
    ):
        config = {
            "input_shape": tuple(input_shape),
            "num_classes": num_classes,
            "block_layers": tuple(block_layers),
            "growth_rate": growth_rate,
            "stem_channels": stem_channels,
            "bottleneck": bottleneck,
            "reduction": reduction,
            "exit_layers": tuple(exit_layers),
            "dtype": dtype,
            "name": name,
        }
        _check_arguments(config)
        images = keras.Input(input_shape, name="images")
        features = bare_convolution(images, stem_channels, 3, dtype=dtype, name="stem")
        exits = []
        for block, layers in enumerate(block_layers, start=1):
            if block > 1:
                features = _transition(
                    features, reduction, name=f"transition_{block - 1}", dtype=dtype
                )
            for layer in range(1, layers + 1):
                name_of_layer = f"block_{block}_layer_{layer}"
                features = _dense_layer(
                    features, growth_rate, bottleneck, name=name_of_layer, dtype=dtype
                )
                is_last = (block, layer) == (len(block_layers), layers)
                if layer in exit_layers or is_last:
                    active = preactivated(
                        features,
                        name="last" if is_last else f"{name_of_layer}_exit",
                        dtype=dtype,
                    )
                    number = len(exits) + 1 if exit_layers else None
                    exits.append(
                        pooled_logits(active, num_classes, exit_number=number, dtype=dtype)
                    )
        super().__init__(images, exits if exit_layers else exits[0], config)


def _check_arguments(config):
    check_any_image_shape(config["input_shape"])
    check_whole("num_classes", config["num_classes"], least=2)
    layers = config["block_layers"]
    if not layers:
        raise InputError("`block_layers` must give at least one block. Received: block_layers=().")
    for count in layers:
        check_whole("block_layers", count, least=1)
    check_whole("growth_rate", config["growth_rate"], least=1)
    check_whole("stem_channels", config["stem_channels"], least=1)
    if not 0 < config["reduction"] <= 1:
        raise InputError(
            f"`reduction` must be in (0, 1]. Received: reduction={config['reduction']}."
        )
    check_exit_places("exit_layers", config["exit_layers"], min(layers))


def _dense_layer(features, growth_rate, bottleneck, *, name, dtype):
    """Normalised features → new ones, put beside them."""
    new = preactivated(features, name=name, dtype=dtype)
    if bottleneck:
        # The second normalisation and activation are those of this unit.
        new = ConvUnit(4 * growth_rate, 1, dtype=dtype, name=f"{name}_bottleneck")(new)
    new = bare_convolution(new, growth_rate, 3, dtype=dtype, name=f"{name}_convolution")
    return keras.layers.Concatenate(dtype=dtype, name=name)([features, new])


def _transition(features, reduction, *, name, dtype):
    """Normalised features → fewer channels, and half the resolution."""
    channels = reduced(features.shape[-1], reduction)
    features = preactivated(features, name=name, dtype=dtype)
    features = bare_convolution(features, channels, 1, dtype=dtype, name=f"{name}_convolution")
    # A map that is one pixel wide already is left as it is.
    pool = [min(2, side or 2) for side in features.shape[1:3]]
    return keras.layers.AveragePooling2D(pool, dtype=dtype, name=name)(features)
