"""The identity without a gradient."""

import keras


@keras.saving.register_keras_serializable(package="tf_adaptive")
class StopGradient(keras.layers.Layer):
    """x forward, no gradient backward.

    Input and output: any shape and dtype, the same.
    """

    def call(self, inputs):
        return keras.ops.stop_gradient(inputs)
