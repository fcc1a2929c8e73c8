"""What every step of gradient descent has, whatever it minimises."""

import keras
import tensorflow as tf

from tf_adaptive.errors import InputError, check_at_least_0
from tf_adaptive.graph.keras_internals import batch_normalizations, layers_within
from tf_adaptive.parts import rows_of_part
from tf_adaptive.replicas import added
from tf_adaptive.training.strategy import place_of_worker


class GradientStep:
    """One step of gradient descent, and the sums behind an epoch's metrics.

    Calling it with a batch changes the model's weights and adds to the sums; nothing is copied
    to Python, so steps follow one another without waiting. Mixed precision is the model's own
    (its dtype policy): bfloat16 has float32's range; of a model with layers in float16 the loss is
    scaled, and a step whose gradients overflow is left out
    (`keras.optimizers.LossScaleOptimizer`).

    Made inside the scope of a `tf.distribute.Strategy`, each replica trains on its part of every
    batch, and their gradients are added: a step is that of one device on the whole batch, to
    float rounding, where batch norm is synchronised (`synchronized_batch_norm`) and nothing is
    dropped out. Elsewhere batch norm takes the statistics of each replica's own images, and the
    moving ones are the mean of the replicas'. A batch must have an image for each replica.

    A subclass says what is minimised, counted and told: `_train_on(images, labels, share)`, which
    calls `_descend` and gives what is added to `sums`; `metrics` and `validate`.

    Args:
        model: a `keras.Model` of one image input.
        optimizers: pairs of a `keras.optimizers.Optimizer` and the trainable variables it moves.
            The first one's rate is the one that is told.
        sums: list of `tf.Variable`, of what is counted beside loss and images; `reset` sets
            them to 0.
        weight_decay: λ of λ/2 · ‖w‖² over all trainable weights, batch norm's and biases too.
            λ·w is added to the gradient before the optimizer (its momentum) sees it, as in
            PyTorch's SGD and so in the papers; Keras's own `weight_decay` is decoupled from it.
        pruning: a `Pruning` of the model's trainable variables; None prunes nothing.

    Attributes:
        variables: what a checkpoint must hold to continue within an epoch: a dict of lists of
            `tf.Variable`, "model", "optimizer", "sums" and, of a pruned model, "pruning".
        replicas: how many devices train together.
        part: `(index, count)` of this process among those that train together, each on its part
            of every batch; the chief's index is 0.

    Raises:
        InputError: `weight_decay` out of range.
    """

    def __init__(self, model, optimizers, sums, *, weight_decay, pruning=None):
        check_at_least_0("weight_decay", weight_decay)
        self.model = model
        self._scales_loss = any(layer.compute_dtype == "float16" for layer in layers_within(model))
        self._optimizers = [
            (
                keras.optimizers.LossScaleOptimizer(optimizer) if self._scales_loss else optimizer,
                own,
            )
            for optimizer, own in optimizers
        ]
        self._weight_decay = weight_decay
        self._pruning = pruning
        self._strategy = tf.distribute.get_strategy()
        self.replicas = self._strategy.num_replicas_in_sync
        self.part = place_of_worker(self._strategy)
        # Made now and not by the first step, so that a checkpoint can be read into it.
        for optimizer, variables in self._optimizers:
            optimizer.build(variables)
        self._learning_rate = tf.Variable(0.0)
        # float64: an epoch's sum in float32 would lose digits.
        self._loss_sum = tf.Variable(0.0, dtype=tf.float64)
        self._images = tf.Variable(0, dtype=tf.int64)
        self.variables = {
            "model": [variable.value for variable in model.variables],
            "optimizer": [
                variable.value
                for optimizer, _ in self._optimizers
                for variable in optimizer.variables
            ],
            "sums": [self._loss_sum, *sums, self._images],
        }
        if pruning is not None:
            self.variables["pruning"] = pruning.variables
        # Batches of any size: one graph serves the last, smaller batch too.
        self._signature = [
            tf.TensorSpec((None, *model.input_shape[1:]), tf.float32),
            tf.TensorSpec((None,), tf.int32),
        ]
        # But on a TPU, which compiles for each size.
        is_tpu = isinstance(self._strategy, tf.distribute.TPUStrategy)
        signature = None if is_tpu else self._signature
        self._train = tf.function(self._train_everywhere, input_signature=signature)

    def __call__(self, images, labels):
        """Trains on float32 `(batch, height, width, channels)` and int32 `(batch,)`.

        Of several processes, each is given its part of the batch.
        """
        self._train(images, labels)

    def compile_with_xla(self):
        """Has steps compiled by XLA, on one replica, for each size of a batch anew."""
        self._train = tf.function(self._train_everywhere, jit_compile=True)

    def wait_for_all(self):
        """Returns when every process has called it."""
        if self.part[1] > 1:
            ones = self._strategy.run(tf.function(lambda: tf.constant(1.0)))
            self._strategy.reduce("SUM", ones, axis=None).numpy()

    @property
    def learning_rate(self):
        """The rate of the latest step, a float."""
        return float(self._learning_rate.numpy())

    def metrics(self):
        """Means over the images since the last `reset`, by the column they have in the history.

        "loss" is one; the others' names start with "train_", accuracies' with "train_accuracy",
        the one of the costliest exit or resolution last.
        """
        raise NotImplementedError

    def validate(self, batches):
        """Means over `(images, labels)` batches, without training, by their history's column.

        Their names start with "validation_".
        """
        raise NotImplementedError

    def reset(self):
        """Starts the sums again."""
        for variable in self.variables["sums"]:
            variable.assign(tf.zeros_like(variable))

    def is_finite(self):
        """Whether the sums, the weights and the optimizers' variables are all finite."""
        return all(
            bool(tf.reduce_all(tf.math.is_finite(variable)))
            for variables in self.variables.values()
            for variable in variables
            if variable.dtype.is_floating
        )

    def _train_everywhere(self, images, labels):
        increments = self._strategy.run(self._train_on_part, args=(images, labels))
        for variable, increment in zip(self.variables["sums"], increments, strict=True):
            variable.assign_add(self._strategy.reduce("SUM", increment, axis=None))

    def _train_on_part(self, images, labels):
        """Trains on this replica's part of a batch, and gives what it adds to the sums."""
        share = None
        if self.replicas > 1:
            images, labels, share = self._own(images, labels)
        loss, *increments = self._train_on(images, labels, share)
        if self.replicas > 1:
            self._share_statistics()
        batch_size = tf.size(labels, out_type=tf.int64)
        loss_sum = tf.cast(loss, tf.float64) * tf.cast(batch_size, tf.float64)
        return [loss_sum, *increments, batch_size]

    def _own(self, images, labels):
        """This replica's of this process's images and labels, and their share of the batch."""
        here = self.replicas // self.part[1]
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group % here
        if labels.shape[0] is not None and labels.shape[0] % here == 0:
            # Shapes that a TPU knows beforehand.
            own = [tf.reshape(whole, (here, -1, *whole.shape[1:])) for whole in (images, labels)]
            return *(parts[replica] for parts in own), tf.constant(1 / self.replicas)
        first, last = rows_of_part(tf.size(labels), (replica, here))
        own = tf.cast(last - first, tf.float32)
        share = own / added(own)
        return images[first:last], labels[first:last], share

    def _share_statistics(self):
        """Gives all replicas the mean of the moving statistics that each has of its own."""
        for layer in batch_normalizations(self.model):
            if not layer.synchronized:
                for moving in (layer.moving_mean, layer.moving_variance):
                    moving.assign(added(moving.value) / self.replicas)

    def _added_over_processes(self, values):
        """What all processes have of each value, added."""
        if self.part[1] == 1:
            return values
        here = self.replicas // self.part[1]

        def once():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group % here
            return [tf.where(tf.equal(replica, 0), value, tf.zeros_like(value)) for value in values]

        own = self._strategy.run(tf.function(once))
        return [self._strategy.reduce("SUM", value, axis=None) for value in own]

    def _train_on(self, images, labels, share):
        """Moves the weights.

        Args:
            images, labels: of this replica.
            share: float32 scalar, of the batch that these are; None for all of it.

        Returns:
            List of the mean loss and what is added to each of `sums`.
        """
        raise NotImplementedError

    def _descend(self, tape, loss, share):
        """Moves the weights against the gradient of a mean loss; `share` as of `_train_on`."""
        groups = [[variable.value for variable in variables] for _, variables in self._optimizers]
        gradients = self._gradients(tape, loss, groups, share)
        self._learning_rate.assign(self._optimizers[0][0].learning_rate)
        of_share = self._weight_decay if share is None else self._weight_decay * share
        for (optimizer, variables), own in zip(self._optimizers, gradients, strict=True):
            if self._weight_decay:
                # Scaled as the loss is, where it is.
                decay = optimizer.scale_loss(of_share) if self._scales_loss else of_share
                own = [
                    gradient + decay * variable.value
                    for gradient, variable in zip(own, variables, strict=True)
                ]
            # The replicas' are added by it.
            optimizer.apply(own, variables)
        if self._pruning is not None:
            self._pruning()

    def _gradients(self, tape, loss, groups, share):
        """Of the loss on each optimizer's variables, lists of lists, before weight decay."""
        if not self._scales_loss:
            return tape.gradient(loss, groups, output_gradients=share)
        factor = 1.0 if share is None else share
        return [
            tape.gradient(loss, group, output_gradients=optimizer.scale_loss(factor))
            for group, (optimizer, _) in zip(groups, self._optimizers, strict=True)
        ]

    def _mean(self, total):
        """A sum divided by the images since the last `reset`."""
        return total.numpy() / self._images.numpy()


def sgd(schedule, *, momentum=0.9, nesterov=True):
    """Stochastic gradient descent with momentum, as the papers train.

    Args:
        schedule: a learning-rate schedule, see `learning_rate_schedule`.
        momentum: at least 0 and below 1.
        nesterov: whether the gradient is taken where the momentum leads.

    Raises:
        InputError: `momentum` out of range.
    """
    if not 0 <= momentum < 1:
        raise InputError(
            f"`momentum` must be at least 0 and below 1. Received: momentum={momentum}."
        )
    return keras.optimizers.SGD(schedule, momentum=float(momentum), nesterov=nesterov)
