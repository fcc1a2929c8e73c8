"""The exit that MSDNet and its descendants put on a feature map."""

import keras

from tf_adaptive.layers import ConvUnit


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


def linear_initializer():
    """How the published networks draw the kernels of their linear layers."""
    return keras.initializers.VarianceScaling(scale=1 / 3, mode="fan_in", distribution="uniform")
