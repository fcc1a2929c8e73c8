"""Channels in another order."""

import keras

from tf_adaptive.errors import InputError


@keras.saving.register_keras_serializable(package="tf_adaptive")
class ReorderChannels(keras.layers.Layer):
    """Channel `order[c]` of the input is channel c of the output.

    Networks with Caffe's weights take blue, green and red: `ReorderChannels((2, 1, 0))` of images
    that are red, green and blue.

    Input and output: `(batch, height, width, channels)`, any dtype, the same.

    Args:
        order: every channel's number, from 0, once.

    Raises:
        InputError: something else.
    """

    def __init__(self, order, **arguments):
        super().__init__(**arguments)
        self.order = tuple(order)
        if sorted(self.order) != list(range(len(self.order))):
            raise InputError(
                f"`order` must have every channel's number once, from 0. Received: order={order}."
            )

    def call(self, inputs):
        # A gather: TFLite has it, its GPU delegate too, and it keeps the range of 8 bits.
        return keras.ops.take(inputs, self.order, axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "order": self.order}
