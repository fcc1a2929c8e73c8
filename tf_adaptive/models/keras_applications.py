"""The networks of keras.applications as classifiers with logits, and how they want their pixels."""

import importlib
import inspect
import warnings

import keras
import numpy as np

from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.graph.final_activation import with_classes, without_final_activation
from tf_adaptive.models.weight_files import load_weight_file

IMAGENET_CLASSES = 1000


def application_names():
    """What keras.applications builds: the names of its functions."""
    return [name for name, value in vars(keras.applications).items() if inspect.isfunction(value)]


def keras_application(name, *, input_shape, num_classes, weights, width=None):
    """A network of keras.applications that gives logits.

    ImageNet's weights go with 1,000 classes; for another number the layer that makes the logits is
    replaced by a new one, see `with_classes`.

    Args:
        name: one of `application_names()`.
        input_shape: `(height, width, channels)` of the images; with weights, three channels.
        num_classes: number of classes.
        weights: None for random ones; "imagenet", which Keras downloads; or the path of a file
            that Keras saved of this network, with `num_classes` classes or with ImageNet's 1,000.
        width: the network's `alpha`, a factor of all channels; None for 1.

    Returns:
        Functional `keras.Model` from images, as `application_preprocessing` wants them, to logits
        `(batch, num_classes)`.

    Raises:
        InputError: an unknown name; a width where the network has none; weights that cannot be had
            or do not fit; an image size that the network cannot have.

    Example:
        >>> model = keras_application(
        ...     "MobileNetV2", input_shape=(96, 96, 3), num_classes=10, weights=None, width=0.35
        ... )
    """
    check_choice("name", name, application_names())
    if weights is None:
        return _built(name, input_shape=input_shape, classes=num_classes, width=width)
    if weights == "imagenet":
        model = _built(name, input_shape=input_shape, classes=IMAGENET_CLASSES, width=width)
        _copy_weights(_downloaded(name, width=width), model, name)
    else:
        model = load_weight_file(
            weights,
            lambda classes: _built(name, input_shape=input_shape, classes=classes, width=width),
            classes=(num_classes, IMAGENET_CLASSES),
        )
    model, _ = without_final_activation(model)
    return model if model.output.shape[-1] == num_classes else with_classes(model, num_classes)


def application_preprocessing(name):
    """The `preprocess_input` that stands beside a network of keras.applications."""
    return importlib.import_module(_builder(name).__module__).preprocess_input


def has_width(name):
    """Whether a network of keras.applications can be made narrower by `width`."""
    return "alpha" in inspect.signature(_builder(name)).parameters


def _builder(name):
    return getattr(keras.applications, name)


def _built(name, *, classes, width, weights=None, input_shape=None):
    """A network as Keras builds it, without a softmax where it can be left out."""
    parameters = inspect.signature(_builder(name)).parameters
    arguments = {"weights": weights, "classes": classes}
    if input_shape is not None:
        arguments["input_shape"] = tuple(input_shape)
    if "classifier_activation" in parameters:
        arguments["classifier_activation"] = None
    if width is not None:
        if not has_width(name):
            narrower = ", ".join(filter(has_width, application_names()))
            raise InputError(
                f"`width` must be left out for {name}, which has one width only; these have more: "
                f"{narrower}. Received: width={width}."
            )
        arguments["alpha"] = width
    try:
        # Keras warns of a shape before it raises.
        with warnings.catch_warnings(action="ignore"):
            return _builder(name)(**arguments)
    except ValueError as error:
        raise InputError(
            f"{name} must be one that keras.applications can build. "
            f"Received: {_said(arguments)}: {_one_line(error)}."
        ) from error


def _downloaded(name, *, width):
    """The network with ImageNet's weights, at its own image size."""
    try:
        return _built(name, classes=IMAGENET_CLASSES, width=width, weights="imagenet")
    except InputError:
        raise
    # A download that fails does so in any way.
    except Exception as error:
        raise InputError(
            f"`weights` must be a file of {name}'s weights where Keras cannot download them. "
            f"Received: weights='imagenet': {_one_line(error)}."
        ) from error


def _copy_weights(source, target, name):
    """Copies weights between two networks that differ in the size of their images."""
    shapes = [[tuple(weight.shape) for weight in model.weights] for model in (source, target)]
    if shapes[0] != shapes[1]:
        size = source.input_shape[1:3]
        raise InputError(
            f"`image_size` must be {size[0]} for the weights of {name}, whose linear layers have "
            f"one size. Received: image_size={target.input_shape[1]}."
        )
    target.set_weights(source.get_weights())


def _said(arguments):
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items() if value is not None)


def _one_line(error):
    return " ".join(str(error).split()).rstrip(".")


def normalization_of(preprocess_input):
    """What a preprocessing does to pixels, read off from what it makes of a few.

    Args:
        preprocess_input: function of a floating-point array `(batch, height, width, 3)` of pixels
            from 0 to 255, red, green and blue.

    Returns:
        `(mean, std, order)`: preprocessing is `(pixels / 255 − mean) / std` with a number of each
        for red, green and blue, and then channel `order[c]` of that as channel c.

    Raises:
        InputError: the preprocessing is none of this form.

    Example:
        >>> mean, std, order = normalization_of(keras.applications.vgg16.preprocess_input)
        >>> order
        (2, 1, 0)
    """

    def preprocessed(pixels):
        # Copies: some write into what they are given.
        batch = np.array(pixels, "float64").reshape(1, 1, -1, 3)
        return np.asarray(preprocess_input(batch), "float64").reshape(-1, 3)

    offset, *ends = preprocessed([[0, 0, 0], *(255 * np.eye(3))])
    # Rows by the channel given, columns by the channel made of it.
    scales = np.array(ends) - offset
    order = np.abs(scales).argmax(axis=0)
    used = scales[order, range(3)]
    pixels = np.random.default_rng(0).integers(0, 256, (64, 3)).astype("float64")
    expected = pixels[:, order] / 255 * used + offset
    is_of_the_form = (
        sorted(order) == [0, 1, 2]
        and np.all(used > 0)
        and np.allclose(preprocessed(pixels), expected, rtol=1e-5, atol=1e-5 * np.abs(used).max())
    )
    if not is_of_the_form:
        raise InputError(
            "A preprocessing must scale and shift each channel by itself, and at most swap them. "
            f"Received: {getattr(preprocess_input, '__name__', preprocess_input)}, which does more."
        )
    mean, std = np.zeros(3), np.zeros(3)
    # Plus 0.0, which makes 0.0 of -0.0.
    mean[order], std[order] = -offset / used + 0.0, 1 / used
    # As many digits as the float32 that they come from has.
    # More digits than float32 has, without those of float64's rounding.
    rounded = ([float(f"{value:.12g}") for value in values] for values in (mean, std))
    return (*map(tuple, rounded), tuple(order.tolist()))


def preprocessing_of_mode(mode):
    """The preprocessing called "tf", "torch", "caffe", or "raw" (none), as Keras has it."""
    check_choice("mode", mode, ("tf", "torch", "caffe", "raw"))
    if mode == "raw":
        return lambda pixels: pixels
    return lambda pixels: keras.applications.imagenet_utils.preprocess_input(pixels, mode=mode)
