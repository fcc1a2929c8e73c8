"""What the processor that the tests run on can do."""

import functools

import numpy as np
import tensorflow as tf


@functools.cache
def convolves_in_bfloat16():
    """Whether there are convolutions in bfloat16: not where oneDNN is held to AVX2."""
    images, kernel = (tf.ones(shape, "bfloat16") for shape in ((1, 4, 4, 1), (3, 3, 1, 1)))
    try:
        return np.all(tf.nn.conv2d(images, kernel, 1, "VALID") == 9)
    except tf.errors.AbortedError:
        return False
