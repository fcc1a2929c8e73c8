"""The small networks that exits are made of, from a feature map to logits."""

import keras

from tf_adaptive.layers import BatchNormalization, ConvUnit
from tf_adaptive.layers.initializers import linear_initializer

HEADS = ("linear", "conv")

# Pixels a side of the map that the convolutions of a "conv" head see, and channels they give.
_CONV_SIDE = 14
_MOST_CONV_CHANNELS = 128


def linear_head(features, num_classes, *, name, tokens="mean"):
    """Global average pooling and one linear layer, on features that are normalised.

    Feature maps inside a network have any scale, and a linear layer learns at the usual rates on
    one: what is pooled goes through a batch norm without weights, tokens through a LayerNorm.

    Args:
        features: symbolic `(batch, height, width, channels)`, or `(batch, tokens, channels)` of a
            transformer.
        num_classes: number of classes.
        name: of the linear layer, and what the other layers' names begin with.
        tokens: of a transformer's tokens, "mean" for their mean, "first" for the first one, the
            class token.

    Returns:
        Symbolic logits `(batch, num_classes)`, float32.
    """
    dtype = _policy_of(features)
    if len(features.shape) == 3:
        features = keras.layers.LayerNormalization(dtype=dtype, name=f"{name}_normalization")(
            features
        )
        if tokens == "first":
            pooled = features[:, 0]
        else:
            pooled = keras.layers.GlobalAveragePooling1D(dtype=dtype, name=f"{name}_pool")(features)
    else:
        pooled = keras.layers.GlobalAveragePooling2D(dtype=dtype, name=f"{name}_pool")(features)
        pooled = BatchNormalization(
            center=False, scale=False, dtype=dtype, name=f"{name}_normalization"
        )(pooled)
    return keras.layers.Dense(
        num_classes, kernel_initializer=linear_initializer(), dtype="float32", name=name
    )(pooled)


def conv_head(features, num_classes, *, name):
    """A depthwise-separable unit before pooling and linear layer, for early feature maps.

    The map is first averaged to about 14 pixels a side; then a 3×3 depthwise convolution of
    stride 2 and a 1×1 convolution to twice the map's channels, at most 128, each with batch norm
    and ReLU (Howard et al. 2017, section 3.1).

    Args:
        features: symbolic `(batch, height, width, channels)`.
        num_classes, name: as for `linear_head`.

    Returns:
        Symbolic logits `(batch, num_classes)`, float32.
    """
    dtype = _policy_of(features)
    _, height, width, channels = features.shape
    pool = (max(1, height // _CONV_SIDE), max(1, width // _CONV_SIDE))
    if pool != (1, 1):
        features = keras.layers.AveragePooling2D(pool, dtype=dtype, name=f"{name}_average")(
            features
        )
    features = keras.layers.DepthwiseConv2D(
        3, strides=2, padding="same", use_bias=False, dtype=dtype, name=f"{name}_depthwise"
    )(features)
    features = BatchNormalization(dtype=dtype, name=f"{name}_depthwise_normalization")(features)
    features = keras.layers.ReLU(dtype=dtype, name=f"{name}_depthwise_activation")(features)
    features = ConvUnit(
        min(2 * channels, _MOST_CONV_CHANNELS), 1, dtype=dtype, name=f"{name}_unit"
    )(features)
    return linear_head(features, num_classes, name=name)


def _policy_of(features):
    """The dtype policy of layers that compute in the features' dtype."""
    return "float32" if features.dtype == "float32" else f"mixed_{features.dtype}"


def exit_head(features, num_classes, *, channels, exit_number, dtype=None):
    """Two 3×3 units of stride 2, 2×2 average pooling, one linear layer.

    Args:
        features: symbolic feature map `(batch, height, width, channels)`.
        num_classes: number of classes.
        channels: output channels of both units.
        exit_number: the exit's place, from 1.
        dtype: dtype policy of the layers.

    Returns:
        Symbolic logits `(batch, num_classes)`, float32.
    """
    name = f"stage_{exit_number}_exit"
    for unit in (1, 2):
        features = ConvUnit(channels, 3, strides=2, dtype=dtype, name=f"{name}_unit_{unit}")(
            features
        )
    # A map that is one pixel wide already is left as it is.
    pool = [min(2, side) for side in features.shape[1:3]]
    features = keras.layers.AveragePooling2D(pool, dtype=dtype, name=f"{name}_pool")(features)
    features = keras.layers.Flatten(dtype=dtype, name=f"{name}_features")(features)
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=linear_initializer(),
        dtype="float32",
        name=f"exit_{exit_number}",
    )(features)
