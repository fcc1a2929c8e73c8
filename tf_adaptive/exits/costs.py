"""What each exit costs: multiply-accumulates, parameters and latency."""

import dataclasses
import re

import keras
import numpy as np
import tensorflow as tf

from tf_adaptive.errors import InputError
from tf_adaptive.exits.outputs import exit_tensors
from tf_adaptive.exits.stages import calls_by_stage, stages_to_outputs
from tf_adaptive.exits.timing import milliseconds_of, runs_to_exits
from tf_adaptive.graph.calls import open_nested
from tf_adaptive.graph.macs import (
    bytes_per_image,
    macs_of_calls,
    parameters_of,
)

# Layers of the published networks are named after the block they stand in.
_NAMED_STAGE = re.compile(r"stage_(\d+)_")


@dataclasses.dataclass(frozen=True)
class ExitCost:
    """What it takes to get one exit's answer for one image, the exits before it included.

    Attributes:
        exit: the exit's place, from 1.
        macs: multiply-accumulates as the papers count them: whole blocks, up to the exit's own.
        lazy_macs: those of what the exits up to this one need, which is what stages run.
        parameters: trainable parameters of the whole blocks.
        state_bytes: bytes an image hands on from this exit's stage to the next; 0 at the last.
        latency_ms: median milliseconds for one image; None unless measured.
    """

    exit: int
    macs: int
    lazy_macs: int
    parameters: int
    state_bytes: int
    latency_ms: float | None = None


def profile(model, *, latency_runs=0):
    """What each exit of a model costs, counted from the operations it runs.

    The papers' count charges an exit with every layer of its block, also those that only later
    blocks read. Layers named `stage_<k>_…` belong to block k; any other belongs to the first exit
    that needs it, which makes both counts the same.

    Args:
        model: functional `keras.Model` with K exits, as `split_stages` takes; heights and widths
            of its inputs are given.
        latency_runs: how often to time each exit on one random image; 0 for not at all.

    Returns:
        List of K `ExitCost`.

    Raises:
        InputError: what `split_stages` raises; an operation whose cost is not known; an input
            without a height or a width.

    Example:
        >>> [cost.exit for cost in ta.profile(model)]
        [1, 2, 3, 4]
    """
    if latency_runs < 0:
        raise InputError(f"`latency_runs` must be 0 or more. Received: {latency_runs}.")
    exit_tensors(model)
    opened = open_nested(model)
    calls = calls_by_stage(opened)
    needed_at = [stage for stage, nodes in enumerate(calls, start=1) for _ in nodes]
    nodes = [node for stage_nodes in calls for node in stage_nodes]
    charged_at = [
        min(stage, _named_stage(node.operation))
        for stage, node in zip(needed_at, nodes, strict=True)
    ]
    macs = macs_of_calls(opened.inputs, nodes)
    stages = stages_to_outputs(model)
    latencies = _latencies(model, latency_runs) if latency_runs else [None] * len(stages)
    return [
        ExitCost(
            exit=number,
            macs=sum(m for m, stage in zip(macs, charged_at, strict=True) if stage <= number),
            lazy_macs=sum(m for m, stage in zip(macs, needed_at, strict=True) if stage <= number),
            parameters=parameters_of(
                node.operation
                for node, stage in zip(nodes, charged_at, strict=True)
                if stage <= number
            ),
            state_bytes=sum(map(bytes_per_image, stage.state.values())),
            latency_ms=latency,
        )
        for number, (stage, latency) in enumerate(zip(stages, latencies, strict=True), start=1)
    ]


def _named_stage(operation):
    match = _NAMED_STAGE.match(operation.name)
    return int(match[1]) if match else float("inf")


def _latencies(model, runs):
    """Median milliseconds to each exit, one image at a time."""
    rng = np.random.default_rng(0)
    images = keras.tree.map_structure(
        lambda tensor: tf.constant(rng.standard_normal((1, *tensor.shape[1:])), tensor.dtype),
        model.input,
    )
    timed = [(function, [images]) for function in runs_to_exits(model)]
    return np.median(milliseconds_of(timed, calls=runs), axis=1).tolist()
