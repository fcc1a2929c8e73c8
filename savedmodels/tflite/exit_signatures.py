"""What the TFLite files of a network with exits compute: a function for each stage."""

import sys

import keras
import numpy as np
import tensorflow as tf

from tf_adaptive.compression.quantization import quantizer_of
from tf_adaptive.errors import InputError

from .folder import batch_name

# The former name, for one version.
sys.modules[f"{__package__}.stage_signatures"] = sys.modules[__name__]

_LOGITS = "logits"


def stage_signatures(stages, *, batch_size=1):
    """A function for each stage of a network, for a batch of a fixed size.

    Args:
        stages: what `split_stages` gave.
        batch_size: images in the batch.

    Returns:
        Dictionary from "stage_1" … "stage_K", or for a larger batch what `batch_name` makes of
        these, to a `tf.function`. It takes the tensors that the stage reads, each under its name,
        and gives a dictionary of the state tensors that the stage writes, under their names, and of
        the logits `(batch, classes)`, under their `logits_name`.

    Raises:
        InputError: a state tensor has a size that is not fixed.
    """
    states = [{}, *(stage.state for stage in stages)]
    return {
        batch_name(_signature_name(stage), batch_size): _stage_signature(stage, state, batch_size)
        for stage, state in zip(stages, states, strict=False)
    }


def stage_parts(stages):
    """What `StagedRunner` and `BatchRunner` must know of each stage, beside its file.

    Args:
        stages: what `split_stages` gave.

    Returns:
        List of dictionaries of "signature", the name in `stage_signatures`, "logits", the name
        of the exit's logits among its outputs, and "state", the names of the tensors that later
        stages read.
    """
    return [
        {
            "signature": _signature_name(stage),
            "logits": _logits_name(stage),
            "state": list(stage.state),
        }
        for stage in stages
    ]


def stage_samples(stages, images, *, batch_size=1):
    """What each stage reads for each image, as `write_files` takes it.

    Args:
        stages: what `split_stages` gave.
        images: float32 `(images, height, width, channels)`, normalised.
        batch_size: images in the batch of a signature.

    Returns:
        Dictionary from signature to a list, one entry per batch, of dictionaries from input to
        array; the last batch has the first images after the last.
    """
    samples = {}
    starts = range(0, len(images), batch_size)
    batches = [np.arange(start, start + batch_size) % len(images) for start in starts]
    state = {stages[0].takes[0]: tf.convert_to_tensor(images)}
    for stage in stages:
        given = {name: state[name].numpy() for name in stage.reads}
        samples[batch_name(_signature_name(stage), batch_size)] = [
            {name: array[rows] for name, array in given.items()} for rows in batches
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


def _stage_signature(stage, state, batch_size):
    name_of_logits = _logits_name(stage)
    quantizers = [quantizer_of(state[name]) if name in state else None for name in stage.reads]
    specs = [
        tf.TensorSpec(_fixed_shape(name, tensor, batch_size), tensor.dtype, name=name)
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


def _fixed_shape(name, tensor, batch_size):
    """The shape of a tensor with a batch of that size."""
    if None in tensor.shape[1:]:
        raise InputError(
            "TFLite needs images and state of fixed sizes: train at one image size. "
            f"Received: {name!r} of shape {tuple(tensor.shape)}."
        )
    return (batch_size, *tensor.shape[1:])
