"""One classifier for several resolutions: all layers shared, batch norms private."""

import itertools

import keras
import tensorflow as tf

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.graph.calls import calls_before, is_functional, open_nested, run_calls
from tf_adaptive.graph.final_activation import exits_as_logits
from tf_adaptive.graph.keras_internals import batch_normalizations, producer
from tf_adaptive.layers import ConvUnit


def resolution_branches(classifier, resolutions, *, shared_batch_norm=False):
    """A classifier at each of several resolutions, with its own batch normalisation at each.

    Features of an object change their statistics with its size in pixels, so the branches share
    every layer but the batch norms (Zhu et al. 2021, DRNet, section 3). Shared layers are the
    classifier's own, not copies. Private ones are named `<layer>_at_<resolution>` and start with
    the original's values; of a `ConvUnit`, only the batch norm is private.

    Args:
        classifier: functional `keras.Model` of one input `(batch, height, width, channels)` and
            one output, logits `(batch, classes)`, with batch norms and global pooling, such as
            `ResNet` or one of `keras.applications`. Nested models are opened up, and a softmax or
            a sigmoid at the end is taken off, with a warning.
        resolutions: heights, and widths, of the images: two or more, largest first.
        shared_batch_norm: share batch norms too, the paper's control (table 1).

    Returns:
        List of functional models, one per resolution, each from images
        `(batch, resolution, resolution, channels)` to logits `(batch, classes)`.

    Raises:
        InputError: the classifier is not such a model, or works at no size but its own; the
            resolutions are fewer than two, not falling, or no whole numbers from 1 on.

    Example:
        >>> backbone = ta.ResNet.from_preset(
        ...     "resnet8_grey", input_shape=(None, None, 1), num_classes=10)
        >>> len(ta.resolution_branches(backbone, (24, 16)))
        2
    """
    check_resolutions(resolutions)
    _check_classifier(classifier)
    opened = open_nested(exits_as_logits(classifier))
    calls = calls_before(opened.outputs)
    if not any(_batch_norms(node.operation) for node in calls):
        raise InputError(
            "`classifier` must have batch normalisation, as nothing else sets its branches apart. "
            f"Received: {classifier.name!r}, which has none."
        )
    return [_branch(opened, calls, resolution, shared_batch_norm) for resolution in resolutions]


def check_resolutions(resolutions):
    """Refuses candidates that are fewer than two, not falling, or no whole numbers from 1 on."""
    if not isinstance(resolutions, list | tuple) or len(resolutions) < 2:
        raise InputError(
            "`resolutions` must be a list of two candidates or more. "
            f"Received: resolutions={resolutions!r}."
        )
    for resolution in resolutions:
        check_whole("resolutions", resolution, least=1)
    if any(after >= before for before, after in itertools.pairwise(resolutions)):
        raise InputError(
            "`resolutions` must fall from one candidate to the next. "
            f"Received: resolutions={tuple(resolutions)}."
        )


def _check_classifier(classifier):
    if not is_functional(classifier):
        raise InputError(
            f"`classifier` must be a functional keras.Model. Received: {type(classifier).__name__}."
        )
    if len(classifier.inputs) != 1 or len(classifier.outputs) != 1:
        raise InputError(
            "`classifier` must have one input and one output. Received: "
            f"{classifier.name!r} with {len(classifier.inputs)} and {len(classifier.outputs)}."
        )
    images, logits = classifier.inputs[0].shape, classifier.outputs[0].shape
    if len(images) != 4 or len(logits) != 2 or logits[1] is None or logits[1] < 2:
        raise InputError(
            "`classifier` must map images (batch, height, width, channels) to logits "
            "(batch, classes), of two classes or more. "
            f"Received: {classifier.name!r} from {images} to {logits}."
        )


def _branch(model, calls, resolution, shared_batch_norm):
    original, output = model.inputs[0], model.outputs[0]
    images = keras.Input(
        (resolution, resolution, original.shape[-1]), dtype=original.dtype, name=original.name
    )
    private = {}

    def call(operation, args, kwargs):
        if _batch_norms(operation) and not shared_batch_norm:
            if id(operation) not in private:
                private[id(operation)] = _private(operation, resolution)
            operation = private[id(operation)]
        try:
            return operation(*args, **kwargs)
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            raise _depends_on_resolution(model, operation.name, resolution) from error

    tensors = {id(original): images}
    run_calls(calls, tensors, call)
    logits = tensors[id(output)]
    if logits.shape != output.shape:
        raise _depends_on_resolution(model, producer(output).operation.name, resolution)
    return keras.Model(images, logits, name=f"{model.name}_at_{resolution}")


def _depends_on_resolution(model, layer, resolution):
    return InputError(
        "`classifier` must work at every one of `resolutions`: pool globally, and choose none that "
        f"its strides use up. Received: {model.name!r}, whose layer {layer!r} does not fit images "
        f"of {resolution}×{resolution}."
    )


def _batch_norms(operation):
    return batch_normalizations(operation) if isinstance(operation, keras.Layer) else []


def _private(layer, resolution):
    name = f"{layer.name}_at_{resolution}"
    if isinstance(layer, ConvUnit):
        return layer.with_own_batch_normalization(name)
    if not isinstance(layer, keras.layers.BatchNormalization):
        raise InputError(
            "Batch norms of `classifier` must be layers of its graph or parts of a ConvUnit. "
            f"Received: {layer.name!r}, a {type(layer).__name__} with one inside."
        )
    twin = type(layer).from_config({**layer.get_config(), "name": name})
    twin.build_from_config(layer.get_build_config())
    twin.set_weights(layer.get_weights())
    return twin
