"""What the TFLite files of a DRNet compute: its predictor's choice, and each branch."""

import keras
import numpy as np
import tensorflow as tf

from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.graph.calls import calls_before, open_nested, run_calls
from tf_adaptive.layers import ConvUnit
from tf_adaptive.routing.dispatch import logits_at

_PREDICTOR = "predict_resolution"


def resolution_signatures(model, *, shared_weights):
    """A function for the predictor of a DRNet and one for each of its branches, for one image.

    Args:
        model: `tf_adaptive.DRNet`.
        shared_weights: whether branches keep the kernels that they share, see
            `with_batch_norm_apart`.

    Returns:
        Dictionary from "predict_resolution" and "classify_R", for each resolution R, to a
        `tf.function` from "images", float32 `(1, height, width, channels)` at the largest
        resolution, to a dictionary of "logits": `(1, resolutions)` of the predictor, `(1, classes)`
        of a branch.
    """
    prepared = with_batch_norm_apart if shared_weights else _folded
    networks = {_PREDICTOR: (_folded(model.predictor), model.predictor_resolution)}
    for branch, resolution in zip(model.branches, model.resolutions, strict=True):
        networks[_branch_name(resolution)] = (prepared(branch), resolution)
    images = tf.TensorSpec((1, *model.input_shape[1:]), name="images")

    def signature(network, resolution):
        return tf.function(
            lambda images: {"logits": logits_at(network, images, resolution)},
            input_signature=[images],
        )

    return {name: signature(*network) for name, network in networks.items()}


def predictor_part():
    """What `ResolutionRunner` must know of the predictor, beside its file."""
    return {"signature": _PREDICTOR, "logits": "logits"}


def branch_parts(model):
    """What `ResolutionRunner` must know of each branch of a DRNet, beside its file."""
    return [
        {"signature": _branch_name(resolution), "logits": "logits", "resolution": resolution}
        for resolution in model.resolutions
    ]


def with_batch_norm_apart(model):
    """The same network for inference, each batch norm over a map a 1×1 depthwise convolution.

    A batch norm that follows a convolution becomes part of its kernel when it is converted, so
    branches that share a kernel would each have one of their own; a depthwise convolution stays.

    Args:
        model: functional `keras.Model`.

    Returns:
        A functional `keras.Model` in float32 with weights of its own, those of the kernels equal.
    """
    model = open_nested(model)

    def call(operation, args, kwargs):
        if isinstance(operation, ConvUnit) and operation.normalized:
            arguments = {**operation.get_config(), "normalized": False, "activation": "linear"}
            unit = ConvUnit(**arguments, convolution=operation.convolution)
            outputs = _normalized_apart(operation.batch_normalization, unit(*args, **kwargs))
            return keras.activations.get(operation.activation)(outputs)
        if isinstance(operation, keras.layers.BatchNormalization):
            inputs = args[0] if args else kwargs["inputs"]
            if len(inputs.shape) == 4:
                return _normalized_apart(operation, inputs)
        return operation(*args, **kwargs)

    images = keras.Input(batch_shape=model.inputs[0].shape, name="images")
    tensors = {id(model.inputs[0]): images}
    run_calls(calls_before(model.outputs), tensors, call)
    return _folded(keras.Model(images, tensors[id(model.outputs[0])], name=model.name))


def resolution_samples(signatures, images):
    """What each signature takes for each image, as `write_files` takes it.

    Args:
        signatures: what `resolution_signatures` gave.
        images: float32 `(images, height, width, channels)`, normalised.
    """
    return {name: [{"images": image[np.newaxis]} for image in images] for name in signatures}


def _folded(model):
    # TFLite has no bfloat16.
    return fold_batch_norm(model, dtype="float32")


def _branch_name(resolution):
    return f"classify_{resolution}"


def _normalized_apart(norm, inputs):
    """A batch norm after a convolution that changes nothing, to be folded into it."""
    unchanged = keras.layers.DepthwiseConv2D(1, depthwise_initializer="ones", use_bias=False)
    # Those inside of units all have one name.
    twin = type(norm).from_config({**norm.get_config(), "name": None})
    outputs = twin(unchanged(inputs))
    twin.set_weights(norm.get_weights())
    return outputs
