"""How long a network with exits takes to each of them, and what is timed beside it."""

import time

import keras
import numpy as np
import tensorflow as tf

from tf_adaptive.errors import check_whole
from tf_adaptive.exits.stages import stages_to_outputs


def runs_to_exits(model):
    """A function for each exit that computes the network up to it, that exit and those before.

    The weights that the model has now are constants in it, as where networks are used.

    Args:
        model: functional `keras.Model` with K exits, as `split_stages` takes.

    Returns:
        List of K functions that give a list of logits, of images
        `(batch, height, width, channels)`, for a model of several inputs of their structure.
    """
    stages = [stage.with_constant_weights() for stage in stages_to_outputs(model)]
    return [_run_to_exit(stages[:count], model.input) for count in range(1, len(stages) + 1)]


def milliseconds_of(timed, *, calls):
    """Times functions of a batch of images, in turn.

    In turn, so that a change of the machine's speed falls on all of them alike.

    Args:
        timed: list of `(function, batches)`: a function of a batch that gives tensors or arrays,
            and the list of batches that it is called with, again and again.
        calls: how often each function is timed; two more calls warm it up.

    Returns:
        float64 `(functions, calls)`, milliseconds of each call.

    Raises:
        InputError: `calls` is no whole number from 1 on.
    """
    check_whole("calls", calls, least=1)
    for function, batches in timed:
        for call in range(2):
            _milliseconds(function, batches[call % len(batches)])
    return np.array(
        [
            [_milliseconds(function, batches[call % len(batches)]) for function, batches in timed]
            for call in range(calls)
        ]
    ).T


def _run_to_exit(stages, inputs):
    specs = keras.tree.map_structure(
        lambda tensor: tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype), inputs
    )

    @tf.function(input_signature=[specs])
    def run(images):
        state = dict(zip(stages[0].takes, keras.tree.flatten(images), strict=True))
        answers = []
        for stage in stages:
            logits, state = stage(state)
            answers.append(logits)
        # All of them: TensorFlow leaves out what is not returned.
        return answers

    return run


def _milliseconds(function, images):
    start = time.perf_counter()
    tf.nest.map_structure(np.asarray, function(images))
    return 1000 * (time.perf_counter() - start)
