"""What the TFLite files of a network with exits compute: a function for each stage."""

import sys

import keras
import tensorflow as tf

from tf_adaptive.compression.quantization import quantizer_of
from tf_adaptive.errors import InputError

# The former name, for one version.
sys.modules[f"{__package__}.stage_signatures"] = sys.modules[__name__]

_LOGITS = "logits"


def stage_signatures(stages):
    """A function for each stage of a network, for one image.

    Args:
        stages: what `split_stages` gave.

    Returns:
        Dictionary from "stage_1" … "stage_K" to a `tf.function`. It takes the tensors that the
        stage reads, each under its name and with a batch of 1, and gives a dictionary of the state
        tensors that the stage writes, under their names, and of the logits `(1, classes)`, under
        their `logits_name`.

    Raises:
        InputError: a state tensor has a size that is not fixed.
    """
    states = [{}, *(stage.state for stage in stages)]
    return {
        _signature_name(stage): _stage_signature(stage, state)
        for stage, state in zip(stages, states, strict=False)
    }


def stage_parts(stages):
    """What `StagedRunner` must know of each stage, beside its file.

    Args:
        stages: what `split_stages` gave.

    Returns:
        List of dictionaries of "signature", the name in `stage_signatures`, and "logits", the name
        of the exit's logits among its outputs.
    """
    return [
        {"signature": _signature_name(stage), "logits": _logits_name(stage)} for stage in stages
    ]


def stage_samples(stages, images):
    """What each stage reads for each image, as `write_files` takes it.

    Args:
        stages: what `split_stages` gave.
        images: float32 `(images, height, width, channels)`, normalised.

    Returns:
        Dictionary from signature to a list, one entry per image, of dictionaries from input to
        array with a batch of 1.
    """
    samples = {}
    state = {stages[0].takes[0]: tf.convert_to_tensor(images)}
    for stage in stages:
        given = {name: state[name].numpy() for name in stage.reads}
        samples[_signature_name(stage)] = [
            {name: array[row : row + 1] for name, array in given.items()}
            for row in range(len(images))
        ]
        _, state = stage(state)
    return samples


def _signature_name(stage):
    return f"stage_{stage.number}"


def _logits_name(stage):
    """What a stage's logits are called among the outputs of its signature.

    "logits", but for logits that later stages read as well: no tensor has two names in a TFLite
    file, so they have that of the state.
    """
    logits, *written = stage.model.outputs
    for name, tensor in zip(stage.writes, written, strict=True):
        if tensor is logits:
            return name
    return _LOGITS


def _stage_signature(stage, state):
    name_of_logits = _logits_name(stage)
    quantizers = [quantizer_of(state[name]) if name in state else None for name in stage.reads]
    specs = [
        tf.TensorSpec(_shape_of_one(name, tensor), tensor.dtype, name=name)
        for name, tensor in zip(stage.reads, stage.model.inputs, strict=True)
    ]

    @tf.function(input_signature=specs)
    def signature(*given):
        # What comes in has been rounded, but the converter looks for its range in this graph.
        given = [
            tensor if quantizer is None else quantizer(tensor)
            for tensor, quantizer in zip(given, quantizers, strict=True)
        ]
        logits, *written = keras.tree.flatten(stage.model(given, training=False))
        return {name_of_logits: logits} | dict(zip(stage.writes, written, strict=True))

    return signature


def _shape_of_one(name, tensor):
    """The shape of a tensor with a batch of 1."""
    if None in tensor.shape[1:]:
        raise InputError(
            "TFLite needs images and state of fixed sizes: train at one image size. "
            f"Received: {name!r} of shape {tuple(tensor.shape)}."
        )
    return (1, *tensor.shape[1:])
