"""Convolution, batch normalisation, activation: the unit that every network here is made of."""

import keras

from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.layers.batch_normalization import BatchNormalization


@keras.saving.register_keras_serializable(package="tf_adaptive")
class ConvUnit(keras.layers.Layer):
    """Convolution → batch normalisation → activation, padded as PyTorch pads.

    The input is padded by (kernel_size − 1)/2 on every side, also when the stride is 2, where
    Keras's "same" would pad one side only. Kernels start normal with standard deviation
    sqrt(2 / (kernel_size² · filters)).

    Args:
        filters: channels of the output.
        kernel_size: odd width and height of the kernel.
        strides: 1 or more, in both directions.
        use_bias: whether the convolution has a bias.
        activation: "relu", "relu6" or "linear".
        normalized: whether there is a batch normalisation; False where it has been folded into
            the convolution, see `tf_adaptive.fold_batch_norm`.
        convolution: the convolution of another unit of these arguments, to share; None for one of
            its own. It is left out of the configuration: a unit loaded alone shares nothing.

    Input shape: `(batch, height, width, channels)`.
    Output shape: `(batch, ceil(height / strides), ceil(width / strides), filters)`.
    """

    convolution_class = keras.layers.Conv2D

    def __init__(
        self,
        filters,
        kernel_size,
        *,
        strides=1,
        use_bias=False,
        activation="relu",
        normalized=True,
        convolution=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_choice("activation", activation, ("relu", "relu6", "linear"))
        if filters < 1 or strides < 1:
            raise InputError(
                "`filters` and `strides` must be 1 or more. "
                f"Received: filters={filters}, strides={strides}."
            )
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise InputError(f"`kernel_size` must be odd. Received: kernel_size={kernel_size}.")
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.use_bias = use_bias
        self.activation = activation
        self.normalized = normalized
        self.convolution = convolution or self.convolution_class(
            filters,
            kernel_size,
            strides=strides,
            # With stride 1 and an odd kernel, "same" is the symmetric padding.
            padding="same" if strides == 1 else "valid",
            use_bias=use_bias,
            kernel_initializer=keras.initializers.VarianceScaling(
                scale=2.0, mode="fan_out", distribution="untruncated_normal"
            ),
            dtype=self.dtype_policy,
            name="convolution",
        )
        if normalized:
            self.batch_normalization = BatchNormalization(
                dtype=self.dtype_policy, name="batch_normalization"
            )

    def build(self, input_shape):
        # Keras refuses a map that is smaller than the kernel; padded, none is.
        if not self.convolution.built:
            self.convolution.build((None, None, None, input_shape[-1]))
        if self.normalized:
            self.batch_normalization.build(self.compute_output_shape(input_shape))

    def call(self, inputs, training=None):
        padding = (self.kernel_size - 1) // 2
        if self.strides > 1 and padding > 0:
            sides = (padding, padding)
            inputs = keras.ops.pad(inputs, ((0, 0), sides, sides, (0, 0)))
        outputs = self.convolution(inputs)
        if self.normalized:
            outputs = self.batch_normalization(outputs, training=training)
        return keras.activations.get(self.activation)(outputs)

    def with_own_batch_normalization(self, name):
        """A unit that shares this one's convolution and starts with its batch normalisation.

        Args:
            name: name of the new unit.

        Returns:
            A `ConvUnit` whose `convolution` is this one's, and whose `batch_normalization` is
            another one of the same values. This one must have been built.
        """
        unit = type(self)(**{**self.get_config(), "name": name, "convolution": self.convolution})
        unit.build_from_config(self.get_build_config())
        unit.batch_normalization.set_weights(self.batch_normalization.get_weights())
        return unit

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        sides = [None if side is None else -(-side // self.strides) for side in (height, width)]
        return (batch, *sides, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "use_bias": self.use_bias,
            "activation": self.activation,
            "normalized": self.normalized,
        }
