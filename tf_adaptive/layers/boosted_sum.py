"""An exit's own logits on top of those of the exits before."""

import keras

from tf_adaptive.errors import check_at_least_0


@keras.saving.register_keras_serializable(package="tf_adaptive")
class BoostedSum(keras.layers.Layer):
    """own + weight · before.

    Args:
        weight: a finite number of 0 or more.

    Input: list of own and before, each `(batch, classes)`.
    Output shape: `(batch, classes)`.

    Raises:
        InputError: a `weight` below 0 or not finite.
    """

    def __init__(self, weight, **kwargs):
        super().__init__(**kwargs)
        check_at_least_0("weight", weight)
        self.weight = float(weight)

    def call(self, inputs):
        own, before = inputs
        return own + self.weight * before

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}
