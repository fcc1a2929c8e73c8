"""What every step of gradient descent has, whatever it minimises."""

import keras
import tensorflow as tf

from tf_adaptive.errors import InputError, check_at_least_0


class GradientStep:
    """One step of gradient descent, and the sums behind an epoch's metrics.

    Calling it with a batch changes the model's weights and adds to the sums; nothing is copied
    to Python, so steps follow one another without waiting. Mixed precision is the model's own
    (its dtype policy); bfloat16 has float32's range and needs no loss scaling.

    A subclass says what is minimised, counted and told: `_train_on(images, labels)`, which calls
    `_descend`, `metrics` and `validate`.

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

    Raises:
        InputError: `weight_decay` out of range.
    """

    def __init__(self, model, optimizers, sums, *, weight_decay, pruning=None):
        check_at_least_0("weight_decay", weight_decay)
        self.model = model
        self._optimizers = optimizers
        self._weight_decay = weight_decay
        self._pruning = pruning
        # Made now and not by the first step, so that a checkpoint can be read into it.
        for optimizer, variables in optimizers:
            optimizer.build(variables)
        self._learning_rate = tf.Variable(0.0)
        # float64: an epoch's sum in float32 would lose digits.
        self._loss_sum = tf.Variable(0.0, dtype=tf.float64)
        self._images = tf.Variable(0, dtype=tf.int64)
        self.variables = {
            "model": [variable.value for variable in model.variables],
            "optimizer": [
                variable.value for optimizer, _ in optimizers for variable in optimizer.variables
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
        self._train = tf.function(self._train_on, input_signature=self._signature)

    def __call__(self, images, labels):
        """Trains on float32 `(batch, height, width, channels)` and int32 `(batch,)`."""
        self._train(images, labels)

    @property
    def learning_rate(self):
        """The rate of the latest step, a float."""
        return float(self._learning_rate)

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

    def _train_on(self, images, labels):
        raise NotImplementedError

    def _descend(self, tape, loss, labels):
        """Moves the weights against the gradient of the mean loss of a batch, and sums it up."""
        groups = [[variable.value for variable in variables] for _, variables in self._optimizers]
        gradients = self._gradients(tape, loss, groups)
        self._learning_rate.assign(self._optimizers[0][0].learning_rate)
        for (optimizer, variables), own in zip(self._optimizers, gradients, strict=True):
            if self._weight_decay:
                own = [
                    gradient + self._weight_decay * variable.value
                    for gradient, variable in zip(own, variables, strict=True)
                ]
            optimizer.apply(own, variables)
        if self._pruning is not None:
            self._pruning()
        batch_size = tf.size(labels, out_type=tf.int64)
        self._loss_sum.assign_add(tf.cast(loss, tf.float64) * tf.cast(batch_size, tf.float64))
        self._images.assign_add(batch_size)

    def _gradients(self, tape, loss, groups):
        """Of the loss on each optimizer's variables, lists of lists, before weight decay."""
        return tape.gradient(loss, groups)

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
