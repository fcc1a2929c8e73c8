"""Bilinear resizing whose corners stay on the corners, as the published RANet resizes."""

import keras
import tensorflow as tf

from tf_adaptive.errors import check_whole


@keras.saving.register_keras_serializable(package="tf_adaptive")
class BilinearResize(keras.layers.Layer):
    """Resizes feature maps bilinearly with aligned corners.

    Output pixel i of n, from 0, lies on input position i·(m − 1)/(n − 1) of m, and an only one on
    the first. Keras's own resizing aligns the pixels' edges instead.

    Args:
        height: height of the output, 1 or more.
        width: width of the output, 1 or more.

    Input shape: `(batch, rows, columns, channels)`.
    Output shape: `(batch, height, width, channels)`, same dtype.
    """

    def __init__(self, height, width, **kwargs):
        super().__init__(**kwargs)
        check_whole("height", height, least=1)
        check_whole("width", width, least=1)
        self.height = height
        self.width = width

    def call(self, inputs):
        resized = tf.raw_ops.ResizeBilinear(
            images=inputs, size=(self.height, self.width), align_corners=True
        )
        return tf.cast(resized, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.height, self.width, input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "height": self.height, "width": self.width}
