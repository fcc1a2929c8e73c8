"""Sums over the replicas of a `tf.distribute.Strategy`, for what is computed on one of them."""

import tensorflow as tf


def is_divided():
    """Whether this is computed on one of several replicas, each with its part of a batch."""
    in_replica = tf.distribute.get_replica_context() is not None
    return in_replica and tf.distribute.get_strategy().num_replicas_in_sync > 1


def added(tensors):
    """Each tensor's sum over the replicas."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def mean_of_batch(values):
    """The mean over a batch, of all replicas' parts of it.

    Args:
        values: float `(batch,)`, this replica's.

    Returns:
        Scalar, whose gradient is that of the mean over this replica's part: weighted by the parts'
        shares of the batch, the replicas' gradients add up to the one of the batch.
    """
    own = tf.reduce_mean(values)
    if not is_divided():
        return own
    total, count = added([tf.reduce_sum(values), tf.cast(tf.size(values), values.dtype)])
    return own + tf.stop_gradient(total / count - own)


def rows_of_batch(rows):
    """`(first, all)`: where this replica's rows begin in the batch, and how many it has in all.

    Args:
        rows: int32 scalar, this replica's.
    """
    if not is_divided():
        return 0, rows
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    of_each = added(rows * tf.one_hot(replica, replicas, dtype="int32"))
    return tf.reduce_sum(of_each[:replica]), tf.reduce_sum(of_each)
