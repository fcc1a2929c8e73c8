"""Where a network is trained: on one device, or on several that add up their gradients."""

import contextlib
import dataclasses
import json
import os

import tensorflow as tf

from tf_adaptive.errors import InputError
from tf_adaptive.graph.keras_internals import batch_normalizations

STRATEGIES = ("none", "mirrored", "mirrored:N", "multi_worker", "tpu", "tpu:ADDRESS")


def strategy_named(name):
    """What a network and its step are made in.

    Args:
        name: "none", one device; "mirrored", all GPUs of the machine; "mirrored:N", N of them, or
            where there is none N parts of the processor, which shows that a training is right and
            is no faster; "multi_worker", the GPUs, or the processors, of the machines that the
            environment's TF_CONFIG names, this one's place in it too; "tpu" or "tpu:ADDRESS", the
            cores of a TPU.

    Returns:
        `tf.distribute.Strategy`; use its `scope()`.

    Raises:
        InputError: another name; fewer GPUs than asked for, or none; a TF_CONFIG that is not one;
            no TPU; a processor that TensorFlow has begun to use.

    Example:
        >>> strategy_named("none").num_replicas_in_sync
        1
    """
    kind, colon, argument = name.partition(":")
    known = ("none", "mirrored", "multi_worker", "tpu")
    if kind not in known or (colon and not _is_argument(kind, argument)):
        raise InputError(
            f"`strategy` must be one of {', '.join(STRATEGIES)}, N from 2 on. Received: {name}."
        )
    if kind == "none":
        return tf.distribute.get_strategy()
    if kind == "multi_worker":
        return _multi_worker()
    if kind == "tpu":
        return _tpu(argument)
    return _mirrored(name, argument)


def check_batch_size(batch_size, replicas):
    """Refuses a batch that the replicas do not divide evenly.

    Args:
        batch_size: images in a batch, over all replicas.
        replicas: how many devices train together.
    """
    if batch_size % replicas:
        below = batch_size // replicas * replicas
        nearest = [str(size) for size in (below, below + replicas) if size]
        raise InputError(
            f"`batch_size` must be a multiple of the {replicas} replicas, such as "
            f"{' or '.join(nearest)}. Received: batch_size={batch_size}."
        )


def place_of_worker(strategy):
    """Which of the processes that train together this is: `(index, count)`, the chief's index 0.

    Args:
        strategy: `tf.distribute.Strategy`.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    resolver = strategy.cluster_resolver
    jobs = resolver.cluster_spec().as_dict()
    chiefs, workers = (len(jobs.get(job, ())) for job in ("chief", "worker"))
    before = chiefs if resolver.task_type == "worker" else 0
    return before + resolver.task_id, chiefs + workers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Devices:
    """On what a network is trained, and how.

    Attributes:
        strategy: of `strategy_named`.
        synchronized_batch_norm: whether batch norms take the statistics of all replicas' images.
        jit_compile: whether XLA compiles the steps.
    """

    strategy: tf.distribute.Strategy
    synchronized_batch_norm: bool = True
    jit_compile: bool = False

    @property
    def replicas(self):
        """How many devices train together."""
        return self.strategy.num_replicas_in_sync

    @property
    def is_chief(self):
        """Whether this process is the one that writes files and tells what is done."""
        return place_of_worker(self.strategy)[0] == 0

    def scope(self):
        """A context in which networks and their steps are made."""
        return self.strategy.scope()

    @contextlib.contextmanager
    def prepared(self, step):
        """A context in which a `GradientStep` is as it is to be used."""
        if self.jit_compile:
            step.compile_with_xla()
        of_all = self.synchronized_batch_norm
        with synchronized_batch_norm(step.model) if of_all else contextlib.nullcontext():
            yield


@contextlib.contextmanager
def synchronized_batch_norm(model):
    """Has every batch norm of a model take the statistics of all replicas' images, for a while.

    Args:
        model: `keras.Model`, in which each `keras.layers.BatchNormalization` is changed, and in the
            end as before.
    """
    layers = batch_normalizations(model)
    before = [layer.synchronized for layer in layers]
    for layer in layers:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer, synchronized in zip(layers, before, strict=True):
            layer.synchronized = synchronized


def _is_argument(kind, argument):
    if kind == "mirrored":
        return argument.isascii() and argument.isdigit() and int(argument) >= 2
    return kind == "tpu" and bool(argument)


def _mirrored(name, count):
    gpus = tf.config.list_physical_devices("GPU")
    if not count and not gpus:
        raise InputError(
            "`strategy` must be mirrored:N on a machine without GPUs, N parts of its processor. "
            f"Received: {name}."
        )
    if gpus and count and int(count) > len(gpus):
        raise InputError(
            f"`strategy` must be mirrored:N with at most the {len(gpus)} GPUs of the machine. "
            f"Received: {name}."
        )
    if gpus:
        wanted = int(count) if count else len(gpus)
        return tf.distribute.MirroredStrategy([f"GPU:{number}" for number in range(wanted)])
    _divide_processor(int(count), name)
    return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(int(count))])


def _divide_processor(count, name):
    (processor,) = tf.config.list_physical_devices("CPU")
    try:
        tf.config.set_logical_device_configuration(
            processor, [tf.config.LogicalDeviceConfiguration()] * count
        )
    except RuntimeError as error:
        # The same division as before is no other one.
        if len(tf.config.list_logical_devices("CPU")) < count:
            raise _too_late(name) from error


def _multi_worker():
    _check_tf_config(os.environ.get("TF_CONFIG"))
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise _too_late("multi_worker") from error


def _check_tf_config(text):
    """Refuses what does not tell the cluster and this process's place in it."""

    def refuse(why):
        raise InputError(
            "The environment's TF_CONFIG must be JSON like "
            '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, '
            '"task": {"type": "worker", "index": 0}}, the index another one on each machine. '
            f"Received: {why}."
        )

    if not text:
        refuse("none")
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        kind, index = task["type"], task["index"]
        places = {job: list(addresses) for job, addresses in jobs.items()}
    except ValueError as error:
        refuse(f"{text}, which is not JSON ({error})")
    except (AttributeError, KeyError, TypeError):
        refuse(text)
    known = {"chief", "worker"}
    if not places or not known.issuperset(places) or len(places.get("chief", ())) > 1:
        refuse(f"{text}, whose jobs are not a chief, or none, and workers")
    addresses = sum(places.values(), [])
    if not all(isinstance(address, str) and ":" in address for address in addresses):
        refuse(f"{text}, where a worker is not HOST:PORT")
    if len(set(addresses)) < len(addresses):
        refuse(f"{text}, where two workers have one address")
    if type(index) is not int or not 0 <= index < len(places.get(kind, ())):
        refuse(f"{text}, whose task is none of the cluster")


def _tpu(address):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise InputError(
            "`strategy` must be tpu where there is a TPU, tpu:ADDRESS for one elsewhere. "
            f"Received: {f'tpu:{address}' if address else 'tpu'}, and none that answers "
            f"({str(error).strip().splitlines()[0].rstrip('.')})."
        ) from error


def _too_late(name):
    return InputError(
        "`strategy` must be chosen before TensorFlow computes anything. "
        f"Received: {name}, after it has begun."
    )
