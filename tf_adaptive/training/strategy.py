"""Where a network is trained: on one device, or on several that add up their gradients."""

import contextlib

import keras
import tensorflow as tf

from tf_adaptive.errors import InputError
from tf_adaptive.graph.keras_internals import layers_within

STRATEGIES = ("none", "mirrored", "mirrored:N")


def strategy_named(name):
    """What a network and its step are made in.

    Args:
        name: "none", one device; "mirrored", all GPUs of the machine; "mirrored:N", N of them, or
            where there is none N parts of the processor, which shows that a training is right and
            is no faster.

    Returns:
        `tf.distribute.Strategy`; use its `scope()`.

    Raises:
        InputError: another name; fewer GPUs than asked for, or none; a processor that TensorFlow
            has begun to use.

    Example:
        >>> strategy_named("none").num_replicas_in_sync
        1
    """
    kind, colon, count = name.partition(":")
    if kind not in ("none", "mirrored") or (colon and not _is_count(kind, count)):
        raise InputError(
            f"`strategy` must be one of {', '.join(STRATEGIES)}, N from 2 on. Received: {name}."
        )
    if kind == "none":
        return tf.distribute.get_strategy()
    gpus = tf.config.list_physical_devices("GPU")
    if not colon and not gpus:
        raise InputError(
            "`strategy` must be mirrored:N on a machine without GPUs, N parts of its processor. "
            f"Received: {name}."
        )
    if gpus and colon and int(count) > len(gpus):
        raise InputError(
            f"`strategy` must be mirrored:N with at most the {len(gpus)} GPUs of the machine. "
            f"Received: {name}."
        )
    if gpus:
        wanted = int(count) if colon else len(gpus)
        return tf.distribute.MirroredStrategy([f"GPU:{number}" for number in range(wanted)])
    _divide_processor(int(count), name)
    return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(int(count))])


@contextlib.contextmanager
def synchronized_batch_norm(model):
    """Has every batch norm of a model take the statistics of all replicas' images, for a while.

    Args:
        model: `keras.Model`, in which each `keras.layers.BatchNormalization` is changed, and in the
            end as before.
    """
    layers = [
        layer
        for layer in layers_within(model)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    before = [layer.synchronized for layer in layers]
    for layer in layers:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer, synchronized in zip(layers, before, strict=True):
            layer.synchronized = synchronized


def _is_count(kind, count):
    return kind == "mirrored" and count.isascii() and count.isdigit() and int(count) >= 2


def _divide_processor(count, name):
    (processor,) = tf.config.list_physical_devices("CPU")
    try:
        tf.config.set_logical_device_configuration(
            processor, [tf.config.LogicalDeviceConfiguration()] * count
        )
    except RuntimeError as error:
        # The same division as before is no other one.
        if len(tf.config.list_logical_devices("CPU")) < count:
            raise InputError(
                "`strategy` must be chosen before TensorFlow computes anything. "
                f"Received: {name}, after it has begun."
            ) from error
