"""A small network of inverted residual blocks, the predictor in front of a MobileNetV2."""

import keras

from tf_adaptive.layers import BatchNormalization, ConvUnit
from tf_adaptive.models.units import pooled_logits

# Expansion, channels, blocks and stride of each stage: those of MobileNetV2 up to 160 channels,
# with one block each where it has up to four, but two in the middle.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 1, 2),
    (6, 32, 1, 2),
    (6, 64, 2, 2),
    (6, 96, 1, 1),
    (6, 160, 1, 2),
)


def inverted_residual_network(*, input_shape, num_classes, dtype=None, name="inverted_residual"):
    """A classifier of seven inverted residual blocks (Sandler et al. 2018), 0.3 M parameters.

    DRNet's paper puts such a predictor in front of MobileNetV2 and does not give its widths;
    these bring the two to the 3.8 M parameters that it gives for both.

    Args:
        input_shape: `(height, width, channels)` of the images; height and width None for any.
        num_classes: number of classes.
        dtype: dtype policy of the layers; logits are float32 always.
        name: name of the model.

    Returns:
        Functional `keras.Model` from images to logits `(batch, num_classes)`, float32.
    """
    images = keras.Input(input_shape, name="images")
    features = ConvUnit(32, 3, strides=2, activation="relu6", dtype=dtype, name="stem")(images)
    for stage, (expansion, channels, blocks, strides) in enumerate(_STAGES, start=1):
        for block in range(1, blocks + 1):
            features = _inverted_residual_block(
                features,
                channels,
                expansion=expansion,
                strides=strides if block == 1 else 1,
                name=f"group_{stage}_block_{block}",
                dtype=dtype,
            )
    return keras.Model(images, pooled_logits(features, num_classes, dtype=dtype), name=name)


def _inverted_residual_block(features, channels, *, expansion, strides, name, dtype):
    """1×1 to more channels, 3×3 on each channel, 1×1 to few; the input is added where it fits."""
    inner = features
    if expansion > 1:
        inner = ConvUnit(
            expansion * features.shape[-1],
            1,
            activation="relu6",
            dtype=dtype,
            name=f"{name}_expansion",
        )(inner)
    inner = keras.layers.ZeroPadding2D(1, dtype=dtype, name=f"{name}_padding")(inner)
    inner = keras.layers.DepthwiseConv2D(
        3,
        strides=strides,
        use_bias=False,
        depthwise_initializer=keras.initializers.VarianceScaling(
            scale=2.0, mode="fan_out", distribution="untruncated_normal"
        ),
        dtype=dtype,
        name=f"{name}_depthwise",
    )(inner)
    inner = BatchNormalization(dtype=dtype, name=f"{name}_depthwise_normalization")(inner)
    inner = keras.layers.ReLU(6.0, dtype=dtype, name=f"{name}_depthwise_activation")(inner)
    inner = ConvUnit(channels, 1, activation="linear", dtype=dtype, name=f"{name}_projection")(
        inner
    )
    if strides > 1 or features.shape[-1] != channels:
        return inner
    return keras.layers.Add(dtype=dtype, name=name)([inner, features])
