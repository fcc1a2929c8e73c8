"""A choice of one of several that gradients can pass through."""

import keras
import numpy as np

from tf_adaptive.errors import check_above_0
from tf_adaptive.replicas import rows_of_batch


@keras.saving.register_keras_serializable(package="tf_adaptive")
class StraightThroughGumbel(keras.layers.Layer):
    """Picks one of m per sample: a draw in training, the likeliest in inference.

    In training, h = one_hot(argmax(log p + g)) with Gumbel noise g, which draws j with probability
    p_j; backward, the gradient is that of softmax((log p + g) / τ) (Jang et al. 2017,
    straight-through). In inference, h = one_hot(argmax(log p)).

    Args:
        temperature: τ, above 0: small for gradients near those of the choice itself, large for
            smooth ones.
        seed: seed of the noise, a whole number; None for one that `keras.utils.set_random_seed`
            decides.

    Attributes:
        temperature: τ as a variable, which a schedule may assign; stored with the weights.

    Input shape: logits of p, `(batch, m)`.
    Output shape: h, `(batch, m)`, float32: one 1 per row, and 0.
    """

    def __init__(self, temperature=1.0, *, seed=None, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        check_above_0("temperature", temperature)
        self.temperature = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(temperature),
            trainable=False,
            name="temperature",
        )
        self._given = {"temperature": temperature, "seed": seed}
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, inputs, training=None):
        scores = keras.ops.log_softmax(inputs, axis=-1)
        if training:
            scores = scores - keras.ops.log(-keras.ops.log(self._uniform(scores)))
        choice = keras.ops.argmax(scores, axis=-1)
        one_hot = keras.ops.one_hot(choice, scores.shape[-1], dtype="float32")
        if not training:
            return one_hot
        soft = keras.ops.softmax(scores / self.temperature, axis=-1)
        # The difference is exactly 0 forward.
        return one_hot + (soft - keras.ops.stop_gradient(soft))

    def _uniform(self, scores):
        """Noise in (0, 1) for each score, an image's the same however many replicas there are."""
        rows, columns = keras.ops.shape(scores)
        first, of_batch = rows_of_batch(rows)
        noise = keras.random.uniform(
            (of_batch, columns),
            minval=np.finfo("float32").tiny,
            maxval=1.0,
            dtype="float32",
            seed=self.seed_generator,
        )
        return noise[first : first + rows]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), **self._given}
