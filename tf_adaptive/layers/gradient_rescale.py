"""The identity with a scaled gradient."""

import math

import keras
import tensorflow as tf

from tf_adaptive.errors import InputError


@keras.saving.register_keras_serializable(package="tf_adaptive")
class GradientRescale(keras.layers.Layer):
    """R(x; s) of Li et al. 2019 (Gradient Equilibrium): x forward, s times the gradient backward.

    Args:
        scale: s, a finite number of 0 or more.

    Input and output: any shape and floating-point dtype, the same.

    Raises:
        InputError: a `scale` below 0 or not finite.
    """

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        if not (math.isfinite(scale) and scale >= 0):
            raise InputError(f"`scale` must be finite and 0 or more. Received: scale={scale}.")
        self.scale = float(scale)

    def call(self, inputs):
        @tf.custom_gradient
        def rescaled(features):
            return features, lambda gradient: gradient * tf.cast(self.scale, gradient.dtype)

        return rescaled(inputs)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}
