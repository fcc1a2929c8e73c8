"""Groups of units that more than one network is built from."""

import keras

from tf_adaptive.layers import BatchNormalization, ConvUnit
from tf_adaptive.layers.initializers import linear_initializer


def bottlenecked_unit(features, channels, width, *, strides, name, dtype):
    """A 1×1 unit to at most `width · channels` channels, then a 3×3 unit to `channels`."""
    inner = min(features.shape[-1], width * channels)
    features = ConvUnit(inner, 1, dtype=dtype, name=f"{name}_bottleneck")(features)
    return ConvUnit(channels, 3, strides=strides, dtype=dtype, name=name)(features)


def imagenet_stem(images, channels, *, use_bias=True, name, dtype):
    """A 7×7 convolution of stride 2, then 3×3 max-pooling of stride 2."""
    features = ConvUnit(
        channels, 7, strides=2, use_bias=use_bias, dtype=dtype, name=f"{name}_convolution"
    )(images)
    # After a ReLU, padding with zeros is padding with −∞.
    features = keras.layers.ZeroPadding2D(1, dtype=dtype, name=f"{name}_padding")(features)
    return keras.layers.MaxPooling2D(3, 2, dtype=dtype, name=name)(features)


def preactivated(features, *, name, dtype):
    """Batch normalisation and ReLU in front of a convolution (He et al. 2016, "Identity Mappings").

    The features are read by others too, so this normalisation cannot become part of a convolution.
    """
    features = BatchNormalization(dtype=dtype, name=f"{name}_normalization")(features)
    return keras.layers.ReLU(dtype=dtype, name=f"{name}_activation")(features)


def bare_convolution(features, channels, kernel_size, *, strides=1, name, dtype):
    """A convolution with neither bias, normalisation nor activation, padded as PyTorch pads."""
    return ConvUnit(
        channels,
        kernel_size,
        strides=strides,
        activation="linear",
        normalized=False,
        dtype=dtype,
        name=name,
    )(features)


def pooled_logits(features, num_classes, *, dropout_rate=0.0, exit_number=None, dtype):
    """Global average pooling, dropout and a linear layer, for feature maps of any size.

    Args:
        features: symbolic feature map `(batch, height, width, channels)`.
        num_classes: number of classes.
        dropout_rate: share of the pooled features that training drops.
        exit_number: place of the exit, from 1, where there are several; it ends the layers' names.
        dtype: dtype policy of the pooling.

    Returns:
        Symbolic logits `(batch, num_classes)`, float32.
    """
    suffix = "" if exit_number is None else f"_{exit_number}"
    features = keras.layers.GlobalAveragePooling2D(dtype=dtype, name=f"features{suffix}")(features)
    if dropout_rate > 0:
        features = keras.layers.Dropout(dropout_rate, dtype=dtype, name=f"dropout{suffix}")(
            features
        )
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=linear_initializer(),
        dtype="float32",
        name=f"logits{suffix}",
    )(features)
