"""Magnitude pruning inside the training loop, with tensorflow-model-optimization's schedule.

tfmot's way in, `prune_low_magnitude`, takes models of the former Keras only. A twin of the network
in that Keras would need a second copy of every layer, step and checkpoint here, on a package that
no longer grows. So tfmot's `Pruning`, which knows of variables alone, works on the Keras 3
variables between the steps of the loop. It is an internal class: requirements.txt pins its
version.
"""

import os

import tensorflow as tf

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.extras import check_extra

_LEGACY_KERAS = "TF_USE_LEGACY_KERAS"


class Pruning:
    """Sets the smallest weights of every kernel to 0, more and more of them (Zhu & Gupta 2017).

    The share of zeros rises from 0 along equation 1 of the paper, sₜ = s (1 − (1 − t)³) with t from
    0 to 1 between the first and the last update of the masks, and stays. A kernel of n weights
    then has n − round(n (1 − s)) zeros, in float32's arithmetic and at least one weight kept. As
    in the paper, what is 0 stays 0, whatever gradient, momentum and weight decay it has.

    All kernels are pruned, of the first and the last layers too, each by itself; biases, batch
    norm's weights and other variables of one axis are not.

    Args:
        variables: trainable `keras.Variable`s of a model; those of two axes or more are pruned.
        prune_to: share of the weights that are 0 in the end, above 0 and below 1.
        steps: steps of the training.
        prune_begin: share of the training before the first weight is pruned, from 0.
        prune_end: share of the training after which the masks stay, above `prune_begin`, up to 1.
        prune_frequency: steps between updates of the masks; in shorter prunings there is one. The
            last of them is the latest that `prune_end` leaves room for.

    Attributes:
        variables: what a checkpoint must hold, a list of `tf.Variable`.

    Raises:
        InputError: a number out of range, no step between begin and end, or tfmot is missing.
    """

    def __init__(
        self, variables, *, prune_to, steps, prune_begin=0.0, prune_end=0.75, prune_frequency=100
    ):
        check_pruning(prune_to, prune_begin, prune_end, prune_frequency)
        first, last = round(prune_begin * steps), round(prune_end * steps)
        if first == last:
            raise InputError(
                "`prune_end` must be a step or more after `prune_begin`. Received: "
                f"prune_begin={prune_begin}, prune_end={prune_end} of {steps} steps."
            )
        frequency = min(prune_frequency, last - first)
        tfmot_pruning, tfmot_schedule = _import_tfmot()
        self._schedule = tfmot_schedule(
            initial_sparsity=0.0,
            final_sparsity=prune_to,
            begin_step=first,
            # Reaching the final sparsity takes an update in the very last step.
            end_step=last - (last - first) % frequency,
            frequency=frequency,
        )
        self._step = tf.Variable(0, dtype=tf.int64)
        kernels = [variable.value for variable in kernels_among(variables)]
        self._pruned = [
            (kernel, tf.Variable(tf.ones_like(kernel)), tf.Variable(tf.zeros((), kernel.dtype)))
            for kernel in kernels
        ]
        self._pruning = tfmot_pruning(
            lambda: self._step,
            self._pruned,
            self._schedule,
            block_size=(1, 1),
            block_pooling_type="AVG",
        )
        self.variables = [self._step, *(mask for _, mask, _ in self._pruned)]

    def __call__(self):
        """Prunes after a step of the optimizer."""
        self._step.assign_add(1)
        # First by the former masks: what the step moved away from 0 must not be chosen again.
        self._pruning.weight_mask_op()
        self._pruning.conditional_mask_update()
        updates, sparsity = self._schedule(self._step)
        tf.cond(updates, lambda: self._drop_ties(sparsity), lambda: None)
        self._pruning.weight_mask_op()

    def _drop_ties(self, sparsity):
        """Drops weights as large as the smallest kept one, where tfmot keeps too many of them."""
        for kernel, mask, threshold in self._pruned:
            size = tf.size(kernel, out_type=tf.int64)
            # As tfmot counts them.
            kept = tf.round(tf.cast(size, tf.float32) * (1 - sparsity))
            kept = tf.maximum(tf.cast(kept, tf.int64), 1)
            surplus = tf.math.count_nonzero(mask) - kept
            tied = tf.reshape(tf.cast(tf.abs(kernel) == threshold, tf.int64), [-1])
            dropped = tf.reshape(tied * tf.cast(tf.cumsum(tied) <= surplus, tf.int64), mask.shape)
            mask.assign(mask * tf.cast(1 - dropped, mask.dtype))


def check_pruning(prune_to, prune_begin, prune_end, prune_frequency):
    """Refuses what `Pruning` would refuse of these, see there."""
    if not 0 < prune_to < 1:
        raise InputError(f"`prune_to` must be above 0 and below 1. Received: prune_to={prune_to}.")
    if not 0 <= prune_begin < prune_end <= 1:
        raise InputError(
            "`prune_begin` and `prune_end` must be parts of the training in order, from 0 to 1. "
            f"Received: prune_begin={prune_begin}, prune_end={prune_end}."
        )
    check_whole("prune_frequency", prune_frequency, least=1)
    _import_tfmot()


def kernels_among(variables):
    """The variables that pruning means: kernels of convolutions and dense layers."""
    return [variable for variable in variables if len(variable.shape) > 1]


def _import_tfmot():
    """tfmot's `Pruning` and `PolynomialDecay`, with `tf.keras` left what it is to the user.

    tfmot sets an environment variable that turns `tf.keras` into the former Keras where it was not
    used before, in child processes too.
    """
    check_extra("prune")
    before = os.environ.get(_LEGACY_KERAS)
    # The first use, if there was none.
    dir(tf.keras)
    try:
        from tensorflow_model_optimization.python.core.sparsity.keras.pruning_impl import Pruning
        from tensorflow_model_optimization.sparsity.keras import PolynomialDecay
    finally:
        if before is None:
            os.environ.pop(_LEGACY_KERAS, None)
        else:
            os.environ[_LEGACY_KERAS] = before
    return Pruning, PolynomialDecay
