"""The mean of several classifiers' probabilities, as logits."""

import math

import keras

from tf_adaptive.errors import check_whole


@keras.saving.register_keras_serializable(package="tf_adaptive")
class MeanPrediction(keras.layers.Layer):
    """Logits whose softmax is the mean of the probabilities of `members` classifiers.

    Given logits m of the mean of all but the last, and the last one's logits z, the answer is

        log((1 − 1/K) softmax(m) + 1/K softmax(z)),

    the logarithm of the mean, whose softmax is that mean exactly. It is computed from logarithms,
    so that a probability too small for float32 does not become −∞.

    Args:
        members: K, 2 or more.

    Input: list of m and z, each `(batch, classes)`.
    Output shape: `(batch, classes)`.
    """

    def __init__(self, members, **kwargs):
        super().__init__(**kwargs)
        check_whole("members", members, least=2)
        self.members = members

    def call(self, inputs):
        before, last = inputs
        before = keras.ops.log_softmax(before) + math.log(1 - 1 / self.members)
        last = keras.ops.log_softmax(last) - math.log(self.members)
        larger = keras.ops.maximum(before, last)
        summed = keras.ops.exp(before - larger) + keras.ops.exp(last - larger)
        return larger + keras.ops.log(summed)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])

    def get_config(self):
        return {**super().get_config(), "members": self.members}
