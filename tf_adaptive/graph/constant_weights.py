"""A network in inference whose weights are constants of the graphs that call it."""

import keras
import numpy as np
import tensorflow as tf

# A graph takes 2 GB at most, and may hold a network as a whole and in stages.
_MOST_BYTES = 2**29


class ConstantWeights:
    """A functional model in inference, as a function whose weights are constants.

    TensorFlow brings a kernel into the order that its convolutions want at every call where it is
    a variable's, and once where it is a constant; small batches gain most. The weights are those
    that the model has when this is made: what is trained later is not seen.

    Args:
        model: functional `keras.Model`. Of one with more than 512 MB of weights they stay
            variables, which graphs hold any size of.

    Attributes:
        model: as given.
        outputs, output_shape: the model's.
    """

    def __init__(self, model):
        self.model = model
        self.outputs, self.output_shape = model.outputs, model.output_shape
        self._run = None
        if sum(_bytes_of(variable) for variable in model.variables) <= _MOST_BYTES:
            self._run = _with_constants(model)

    def __call__(self, inputs, training=False):
        """Runs the model in inference.

        Args:
            inputs: what the model takes.
            training: False; there for those that call models.

        Returns:
            What the model gives.
        """
        del training
        if self._run is None:
            return self.model(inputs, training=False)
        given = zip(keras.tree.flatten(inputs), self.model.inputs, strict=True)
        return self._run(*(tf.cast(tensor, symbolic.dtype) for tensor, symbolic in given))


def _with_constants(model):
    """A graph function of the model's inputs, traced once: graphs that call it share it."""
    # Read outside the graph, which would list a variable that is read in it as its own.
    values = [variable.numpy() for variable in model.variables]

    def run(*inputs):
        given = keras.tree.pack_sequence_as(model.input, inputs)
        constants = list(zip(model.variables, map(tf.constant, values), strict=True))
        with keras.StatelessScope(state_mapping=constants):
            return model(given, training=False)

    specs = [tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs]
    function = tf.function(run, input_signature=specs, autograph=False).get_concrete_function()
    # They are in the graph now.
    values.clear()
    return function


def _bytes_of(variable):
    return int(np.prod(variable.shape)) * tf.as_dtype(variable.dtype).size
