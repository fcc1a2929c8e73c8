"""What happens to one batch, in training and in validation, as graph functions."""

import math

import keras
import numpy as np
import tensorflow as tf

from tf_adaptive.errors import InputError


class TrainStep:
    """One step of gradient descent on all exits, and the sums behind an epoch's metrics.

    Calling it with a batch changes the model's weights and adds to the sums; nothing is copied
    to Python, so steps follow one another without waiting. Mixed precision is the model's own
    (its dtype policy); bfloat16 has float32's range and needs no loss scaling.

    Args:
        model: a functional model with one image input and a list of K outputs
            `(batch, classes)`, cheapest exit first.
        optimizer: a `keras.optimizers.Optimizer`.
        loss: a function of `labels`, integers `(batch,)`, and the list of K logits that gives
            the scalar to minimise, a mean over the batch.
        teacher: None, or a model of the same input that answers logits `(batch, classes)`; they
            are then the loss's third argument. It is run as in inference and does not learn.
        weight_decay: λ of λ/2 · ‖w‖² over all trainable weights, batch norm's and biases too.
            λ·w is added to the gradient before the optimizer (its momentum) sees it, as in
            PyTorch's SGD and so in the papers; Keras's own `weight_decay` is decoupled from it.

    Attributes:
        variables: what a checkpoint must hold to continue within an epoch: a dict of lists.

    Raises:
        InputError: a model with one output or several inputs, or `weight_decay` out of range.
    """

    def __init__(self, model, optimizer, loss, *, teacher=None, weight_decay=0.0):
        if len(model.inputs) != 1 or len(model.outputs) < 2:
            raise InputError(
                "`model` must have one input and two or more outputs. Received: "
                f"{len(model.inputs)} inputs and {len(model.outputs)} outputs."
            )
        if not (math.isfinite(weight_decay) and weight_decay >= 0):
            raise InputError(
                "`weight_decay` must be finite and at least 0. "
                f"Received: weight_decay={weight_decay}."
            )
        self.model = model
        self.num_exits = len(model.outputs)
        self._optimizer = optimizer
        self._loss = loss
        self._teacher = teacher
        self._weight_decay = weight_decay
        # Made now and not by the first step, so that a checkpoint can be read into it.
        optimizer.build(model.trainable_variables)

        # float64: an epoch's sum in float32 would lose digits.
        self._learning_rate = tf.Variable(0.0)
        self._loss_sum = tf.Variable(0.0, dtype=tf.float64)
        self._correct = tf.Variable(tf.zeros(self.num_exits, tf.int64))
        self._images = tf.Variable(0, dtype=tf.int64)
        self.variables = {
            "model": [variable.value for variable in model.variables],
            "optimizer": [variable.value for variable in optimizer.variables],
            "sums": [self._loss_sum, self._correct, self._images],
        }
        signature = _signature(model)
        self._train = tf.function(self._train_on, input_signature=signature)
        self._count_correct = tf.function(self._count_correct_in, input_signature=signature)

    def __call__(self, images, labels):
        """Trains on float32 `(batch, height, width, channels)` and int32 `(batch,)`."""
        self._train(images, labels)

    @property
    def learning_rate(self):
        """The rate of the latest step, a float."""
        return float(self._learning_rate)

    def means(self):
        """Mean loss, and accuracy of each exit `(exits,)`, since the last `reset`."""
        images = self._images.numpy()
        return float(self._loss_sum.numpy() / images), self._correct.numpy() / images

    def reset(self):
        """Starts the sums again."""
        for variable in self.variables["sums"]:
            variable.assign(tf.zeros_like(variable))

    def accuracy(self, batches):
        """Accuracy of each exit `(exits,)` on `(images, labels)` batches, without training."""
        correct, total = np.zeros(self.num_exits, "int64"), 0
        for images, labels in batches:
            correct += self._count_correct(images, labels).numpy()
            total += len(labels)
        return correct / total

    def is_finite(self):
        """Whether the sums, the weights and the optimizer's variables are all finite."""
        return all(
            bool(tf.reduce_all(tf.math.is_finite(variable)))
            for variables in self.variables.values()
            for variable in variables
            if variable.dtype.is_floating
        )

    def _train_on(self, images, labels):
        variables = self.model.trainable_variables
        taught = [] if self._teacher is None else [self._teacher(images, training=False)]
        with tf.GradientTape() as tape:
            logits = self.model(images, training=True)
            loss = self._loss(labels, logits, *taught)
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        if self._weight_decay:
            gradients = [
                gradient + self._weight_decay * variable.value
                for gradient, variable in zip(gradients, variables, strict=True)
            ]
        self._learning_rate.assign(self._optimizer.learning_rate)
        self._optimizer.apply(gradients, variables)

        batch_size = tf.size(labels, out_type=tf.int64)
        self._loss_sum.assign_add(tf.cast(loss, tf.float64) * tf.cast(batch_size, tf.float64))
        self._correct.assign_add(_correct_per_exit(labels, logits))
        self._images.assign_add(batch_size)

    def _count_correct_in(self, images, labels):
        return _correct_per_exit(labels, self.model(images, training=False))


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


def _signature(model):
    """Batches of any size: one graph serves the last, smaller batch too."""
    image_shape = model.inputs[0].shape[1:]
    return [
        tf.TensorSpec((None, *image_shape), tf.float32),
        tf.TensorSpec((None,), tf.int32),
    ]


def _correct_per_exit(labels, logits):
    """How many samples each exit gets right, int64 `(exits,)`."""
    return tf.stack(
        [
            tf.math.count_nonzero(tf.argmax(exit, axis=-1, output_type=tf.int32) == labels)
            for exit in logits
        ]
    )
