"""How weights are drawn."""

import keras


def linear_initializer():
    """How the published networks draw the kernels of their linear layers."""
    return keras.initializers.VarianceScaling(scale=1 / 3, mode="fan_in", distribution="uniform")
