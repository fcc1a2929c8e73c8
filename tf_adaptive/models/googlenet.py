"""GoogLeNet: blocks of convolutions of several sizes side by side."""

import keras

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.layers import ConvUnit
from tf_adaptive.models.presets import GOOGLENET_PRESETS
from tf_adaptive.models.published_network import PublishedNetwork, check_any_image_shape
from tf_adaptive.models.units import pooled_logits

# Channels of each inception block: 1×1, 3×3 after its reduction, the largest kernel after its
# reduction, 1×1 after the pooling (Szegedy et al. 2015, table 1).
_INCEPTION_BLOCKS = {
    "3a": (64, (96, 128), (16, 32), 32),
    "3b": (128, (128, 192), (32, 96), 64),
    "4a": (192, (96, 208), (16, 48), 64),
    "4b": (160, (112, 224), (24, 64), 64),
    "4c": (128, (128, 256), (24, 64), 64),
    "4d": (112, (144, 288), (32, 64), 64),
    "4e": (256, (160, 320), (32, 128), 128),
    "5a": (256, (160, 320), (32, 128), 128),
    "5b": (384, (192, 384), (48, 128), 128),
}


@keras.saving.register_keras_serializable(package="tf_adaptive")
class GoogLeNet(PublishedNetwork):
    """GoogLeNet (Szegedy et al. 2015) without its auxiliary classifiers, with batch norm.

    A functional model: `model(images)` is the logits `(batch, num_classes)`, float32.

    As in the implementations in use, batch normalisation stands in place of the local response
    normalisation and of the biases, and there is no dropout.

    Args:
        input_shape: `(height, width, channels)` of the images; height and width None for any.
        num_classes: number of classes, 2 or more.
        largest_kernel: width of an inception block's largest kernel, odd: 5 as published, 3 as
            torchvision builds it.
        dtype: dtype policy of the layers, such as "mixed_bfloat16"; logits are float32 always.
        name: name of the model.

    Attributes:
        presets: arguments of the published configurations, by name.

    Example:
        >>> model = ta.GoogLeNet.from_preset("googlenet", num_classes=10)
        >>> model.output_shape
        (None, 10)
    """

    presets = GOOGLENET_PRESETS

    def __init__(self, *, input_shape, num_classes, largest_kernel=5, dtype=None, name="googlenet"):
        config = {
            "input_shape": tuple(input_shape),
            "num_classes": num_classes,
            "largest_kernel": largest_kernel,
            "dtype": dtype,
            "name": name,
        }
        check_any_image_shape(config["input_shape"])
        check_whole("num_classes", num_classes, least=2)
        check_whole("largest_kernel", largest_kernel, least=1)
        if largest_kernel % 2 == 0:
            raise InputError(
                f"`largest_kernel` must be odd. Received: largest_kernel={largest_kernel}."
            )
        images = keras.Input(input_shape, name="images")
        features = ConvUnit(64, 7, strides=2, dtype=dtype, name="stem_1")(images)
        features = _halved(features, name="stem_1_pool", dtype=dtype)
        features = ConvUnit(64, 1, dtype=dtype, name="stem_2_reduction")(features)
        features = ConvUnit(192, 3, dtype=dtype, name="stem_2")(features)
        features = _halved(features, name="stem_2_pool", dtype=dtype)
        for block, channels in _INCEPTION_BLOCKS.items():
            if block in ("4a", "5a"):
                features = _halved(features, name=f"inception_{block}_pool_before", dtype=dtype)
            features = _inception_block(
                features, channels, largest_kernel, name=f"inception_{block}", dtype=dtype
            )
        super().__init__(images, pooled_logits(features, num_classes, dtype=dtype), config)


def _halved(features, *, name, dtype):
    return keras.layers.MaxPooling2D(3, 2, padding="same", dtype=dtype, name=name)(features)


def _inception_block(features, channels, largest_kernel, *, name, dtype):
    """Four branches side by side: 1×1, 3×3, the largest kernel, 3×3 max-pooling."""
    pointwise, middle, largest, pooled = channels
    branches = [ConvUnit(pointwise, 1, dtype=dtype, name=f"{name}_1x1")(features)]
    for branch, kernel_size, (inner, outer) in (
        ("middle", 3, middle),
        ("largest", largest_kernel, largest),
    ):
        reduction = ConvUnit(inner, 1, dtype=dtype, name=f"{name}_{branch}_reduction")(features)
        branches.append(
            ConvUnit(outer, kernel_size, dtype=dtype, name=f"{name}_{branch}")(reduction)
        )
    pool = keras.layers.MaxPooling2D(3, 1, padding="same", dtype=dtype, name=f"{name}_pool")
    branches.append(ConvUnit(pooled, 1, dtype=dtype, name=f"{name}_pooled")(pool(features)))
    return keras.layers.Concatenate(dtype=dtype, name=name)(branches)
