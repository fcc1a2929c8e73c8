"""Layers that compute in float32 with the numbers that 8 bits can hold.

Forward, a number is rounded to the nearest of the 8-bit ones; backward, the rounding is passed over
and numbers outside the range get no gradient (Jacob et al. 2018, section 3). Both are TensorFlow's
own operations, which the TFLite converter knows and turns into 8-bit arithmetic.
"""

import keras
import tensorflow as tf

from tf_adaptive.layers.conv_unit import ConvUnit

# An empty range has no step.
_LEAST_RANGE = 1e-6


@keras.saving.register_keras_serializable(package="tf_adaptive")
class FakeQuantize(keras.layers.Layer):
    """Rounds feature maps to 256 numbers, evenly spaced over a range, one of which is 0.

    The range is set by `set_range` and does not learn. Rounding twice changes nothing.

    Input shape: any.
    Output shape: that of the input, same dtype.
    """

    def build(self, input_shape):
        del input_shape
        self.minimum = self._bound("minimum", -1.0)
        self.maximum = self._bound("maximum", 1.0)

    def set_range(self, minimum, maximum):
        """Sets the range; it is widened to hold 0 and moved by less than a step to have it."""
        self.minimum.assign(min(float(minimum), 0.0))
        self.maximum.assign(max(float(maximum), _LEAST_RANGE))

    def call(self, inputs):
        rounded = tf.quantization.fake_quant_with_min_max_vars(
            tf.cast(inputs, tf.float32), self.minimum.value, self.maximum.value
        )
        return tf.cast(rounded, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def _bound(self, name, value):
        return self.add_weight(
            name=name,
            shape=(),
            initializer=keras.initializers.Constant(value),
            dtype="float32",
            autocast=False,
            trainable=False,
        )


@keras.saving.register_keras_serializable(package="tf_adaptive")
class FakeQuantizedConv2D(keras.layers.Conv2D):
    """A `keras.layers.Conv2D` with a kernel of 8 bits, see `fake_quantized_kernel`."""

    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, fake_quantized_kernel(kernel))


@keras.saving.register_keras_serializable(package="tf_adaptive")
class FakeQuantizedConvUnit(ConvUnit):
    """A `ConvUnit` with a kernel of 8 bits, see `fake_quantized_kernel`."""

    convolution_class = FakeQuantizedConv2D


@keras.saving.register_keras_serializable(package="tf_adaptive")
class FakeQuantizedDense(keras.layers.Dense):
    """A `keras.layers.Dense` with a kernel of 8 bits, see `fake_quantized_kernel`."""

    def call(self, inputs, training=None):
        outputs = keras.ops.matmul(inputs, fake_quantized_kernel(self.kernel))
        if self.use_bias:
            outputs = keras.ops.add(outputs, self.bias)
        return self.activation(outputs)


def fake_quantized_kernel(kernel):
    """A kernel rounded to whole multiples, from -127 to 127, of a step.

    The step is the largest magnitude divided by 127, so the range is the present weights' own and
    none of them is cut off. A convolution has a step for each channel it gives; a linear layer has
    one, because the TFLite converter takes no more.

    Args:
        kernel: `(height, width, inputs, outputs)` or `(inputs, outputs)`, any float dtype.

    Returns:
        A tensor of the same shape and dtype.
    """
    kernel = tf.convert_to_tensor(kernel)
    weights = tf.cast(kernel, tf.float32)
    if len(weights.shape) == 4:
        quantize = tf.quantization.fake_quant_with_min_max_vars_per_channel
        axes = (0, 1, 2)
    else:
        quantize, axes = tf.quantization.fake_quant_with_min_max_vars, (0, 1)
    largest = tf.stop_gradient(tf.reduce_max(tf.abs(weights), axis=axes))
    largest = tf.maximum(largest, _LEAST_RANGE)
    return tf.cast(quantize(weights, -largest, largest, narrow_range=True), kernel.dtype)
