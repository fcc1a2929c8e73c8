"""The shortcut without parameters past a block that has more channels or fewer pixels."""

import keras

from tf_adaptive.errors import check_whole


@keras.saving.register_keras_serializable(package="tf_adaptive")
class PaddedShortcut(keras.layers.Layer):
    """Every `strides`-th pixel, and zeros for the channels that are missing.

    Option A of He et al. 2016, section 4.1.

    Args:
        filters: channels of the output, not fewer than those of the input.
        strides: 1 or more, in both directions.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, ceil(height / strides), ceil(width / strides), filters)`.
    """

    def __init__(self, filters, *, strides=1, **kwargs):
        super().__init__(**kwargs)
        check_whole("filters", filters, least=1)
        check_whole("strides", strides, least=1)
        self.filters = filters
        self.strides = strides

    def build(self, input_shape):
        check_whole("filters", self.filters, least=input_shape[-1])

    def call(self, inputs):
        outputs = inputs[:, :: self.strides, :: self.strides, :]
        missing = self.filters - inputs.shape[-1]
        return keras.ops.pad(outputs, ((0, 0), (0, 0), (0, 0), (0, missing)))

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        sides = [None if side is None else -(-side // self.strides) for side in (height, width)]
        return (batch, *sides, self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}
