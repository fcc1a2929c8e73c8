"""Batch normalisation that uses the fused operation where it is the faster one."""

import keras
import tensorflow as tf

from tf_adaptive.replicas import added, is_divided


@keras.saving.register_keras_serializable(package="tf_adaptive")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over channels, fused in float32.

    Keras 3 composes batch normalisation of elementwise operations. TensorFlow's fused operation
    trains and infers faster in float32; in bfloat16 it is slower, so there Keras's own form runs.
    Both keep their statistics in float32, and have the same variables in the same order. In
    training the fused operation's moving variance takes the unbiased batch variance, as PyTorch's
    does.

    Args:
        momentum: share of the old moving statistics kept at each step (PyTorch's 1 − momentum).
        epsilon: added to the variance.
        **kwargs: those of `keras.layers.BatchNormalization`.

    Input and output shape: `(batch, height, width, channels)`, float32 or bfloat16.
    """

    def __init__(self, *, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs, training=None, mask=None):
        fused = (
            self.compute_dtype == "float32"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.scale
            and self.center
            and mask is None
        )
        if not fused:
            return super().call(inputs, training=training, mask=mask)
        use_batch_statistics = bool(training) and self.trainable
        if use_batch_statistics and self.synchronized and is_divided():
            return self._call_on_replicas(inputs)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            scale=self.gamma.value,
            offset=self.beta.value,
            mean=None if use_batch_statistics else self.moving_mean.value,
            variance=None if use_batch_statistics else self.moving_variance.value,
            epsilon=self.epsilon,
            is_training=use_batch_statistics,
        )
        if use_batch_statistics:
            self._follow(mean, variance)
        return outputs

    def _call_on_replicas(self, inputs):
        """By the statistics of what all replicas have, as the fused operation does of one's."""
        axes = range(len(inputs.shape) - 1)
        pixels = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), inputs.dtype)
        total, count = added([tf.reduce_sum(inputs, axes), pixels])
        mean = total / count
        (squares,) = added([tf.reduce_sum(tf.square(inputs - mean), axes)])
        self._follow(mean, squares / tf.maximum(count - 1, 1))
        return tf.nn.batch_normalization(
            inputs, mean, squares / count, self.beta.value, self.gamma.value, self.epsilon
        )

    def _follow(self, mean, variance):
        """Moves the moving statistics towards those of a batch."""
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
