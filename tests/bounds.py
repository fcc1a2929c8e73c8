"""How far logits of converted networks may be from the Keras model's, by the arithmetic."""

import numpy as np

# Of the spread of an exit's logits. Sums of about 1,000 float32 products in another order differ by
# some √1000 · 2⁻²⁴ of their size, and twenty layers' add up to √20 times that.
ROUNDING = 1e-5
# Of the norm of an exit's logits. A map or a kernel rounded to 256 values over six standard
# deviations is off by 6 / 255 / √12 of its norm, and forty of them by √40 times that, 0.043: about
# half of this.
INT8 = 0.1
# Of the norm of an exit's logits. A map or a kernel in bfloat16 has numbers off by up to 2⁻⁹ of
# their size, 2⁻⁹ / √3 in the mean of squares, and forty of them by √40 times that, 0.007: about a
# third of this.
BFLOAT16 = 0.02


def apart(received, expected):
    """The largest difference of logits, in shares of the spread of what is expected."""
    return np.abs(received - expected).max() / np.ptp(expected)


def relative_error(received, expected):
    """The norm of the difference of logits over that of the logits about each image's mean."""
    about_mean = expected - np.mean(expected, axis=-1, keepdims=True)
    return np.linalg.norm(received - expected) / np.linalg.norm(about_mean)


def check_logits(received, expected, *, precision):
    """Compares the logits `(images, classes)` of one exit.

    Args:
        received: those of the file.
        expected: those of the Keras model, for "float16" with weights as `half` gives them.
        precision: "float32", "float16" or "int8".
    """
    if precision == "int8":
        assert relative_error(received, expected) < INT8
    else:
        assert apart(received, expected) < ROUNDING


def with_weights(model, change):
    """The model, every weight of it put through a function."""
    model.set_weights([change(weight) for weight in model.get_weights()])
    return model


def half(weight):
    """A weight as float16 holds it."""
    return weight.astype("float16").astype("float32")


def in_bits(weight, bits):
    """A kernel in steps of its largest number, those of each channel; other weights as they are."""
    if weight.ndim == 1:
        return weight
    steps = 2 ** (bits - 1) - 1
    largest = np.abs(weight).max(axis=tuple(range(weight.ndim - 1)), keepdims=True)
    return np.round(weight / largest * steps) * largest / steps
