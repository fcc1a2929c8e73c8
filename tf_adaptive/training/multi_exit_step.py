"""What happens to one batch of a network with exits, in training and in validation."""

import keras
import numpy as np
import tensorflow as tf

from tf_adaptive.errors import InputError
from tf_adaptive.graph.weights import weights_in_pairs
from tf_adaptive.training.gradient_step import GradientStep


class TrainStep(GradientStep):
    """One step of gradient descent on all exits.

    The metrics are "loss", and "train_accuracy_<output>" and "validation_accuracy_<output>" of
    each output, top-1 as fractions, and "train_update_<part>" of each of `updates_of`, the mean of
    ‖Δw‖ / ‖w‖ over the steps: with batch norm behind them, what a kernel learns by (its effective
    rate is the rate by ‖w‖²).

    Args:
        model: a functional model with one image input and a list of K outputs
            `(batch, classes)`, cheapest exit first; one alone may come without a list.
        optimizer: a `keras.optimizers.Optimizer`.
        loss: a function of `labels`, integers `(batch,)`, and the list of K logits that gives
            the scalar to minimise, a mean over the batch.
        teacher: None, or a model of the same input that answers logits `(batch, classes)`; they
            are then the loss's third argument. It is run as in inference and does not learn. Of
            several outputs, it is the last that teaches.
        teacher_momentum: None, or the share of itself that the teacher, a copy of the model, keeps
            after each step; the rest of its weights and statistics become the model's (Tarvainen &
            Valpola 2017, mean teacher).
        output_names: what the K outputs are called in metrics; None for "exit_1" to "exit_K".
        updates_of: dictionary from a part's name to its trainable variables, whose updates are
            told; None tells none.
        weight_decay: see `GradientStep`.
        pruning: see `GradientStep`.

    Raises:
        InputError: a model with several inputs, or `weight_decay` out of range.
    """

    def __init__(
        self,
        model,
        optimizer,
        loss,
        *,
        teacher=None,
        teacher_momentum=None,
        output_names=None,
        updates_of=None,
        weight_decay=0.0,
        pruning=None,
    ):
        if len(model.inputs) != 1:
            raise InputError(
                f"`model` must have one input, the images. Received: {len(model.inputs)} inputs."
            )
        self._loss = loss
        self._teacher = teacher
        self._teacher_momentum = teacher_momentum
        count = len(model.outputs)
        self._output_names = output_names or [f"exit_{exit}" for exit in range(1, count + 1)]
        self._correct = tf.Variable(tf.zeros(count, tf.int64))
        self._updates_of = updates_of or {}
        self._updates = tf.Variable(tf.zeros(len(self._updates_of), tf.float64))
        super().__init__(
            model,
            [(optimizer, model.trainable_variables)],
            [self._correct, self._updates] if self._updates_of else [self._correct],
            weight_decay=weight_decay,
            pruning=pruning,
        )
        if teacher_momentum is not None:
            self.variables["teacher"] = [weight.value for weight in teacher.weights]
        self._count_correct = tf.function(self._count_correct_in, input_signature=self._signature)

    def metrics(self):
        accuracies = self._by_output("train_accuracy", self._mean(self._correct))
        updates = {
            f"train_update_{part}": float(update)
            for part, update in zip(self._updates_of, self._mean(self._updates), strict=True)
        }
        return {"loss": float(self._mean(self._loss_sum)), **accuracies, **updates}

    def validate(self, batches):
        correct, total = np.zeros(len(self._output_names), "int64"), 0
        for images, labels in batches:
            correct += self._count_correct(images, labels).numpy()
            total += len(labels)
        correct, total = map(np.asarray, self._added_over_processes([correct, np.int64(total)]))
        return self._by_output("validation_accuracy", correct / total)

    def _by_output(self, name, values):
        return {
            f"{name}_{output}": float(value)
            for output, value in zip(self._output_names, values, strict=True)
        }

    def _train_on(self, images, labels, share):
        taught = []
        if self._teacher is not None:
            taught = keras.tree.flatten(self._teacher(images, training=False))[-1:]
        with tf.GradientTape() as tape:
            logits = keras.tree.flatten(self.model(images, training=True))
            loss = self._loss(labels, logits, *taught)
        before = [[tf.identity(v.value) for v in part] for part in self._updates_of.values()]
        self._descend(tape, loss, share)
        counted = [_correct_per_exit(labels, logits)]
        if before:
            updates = tf.stack(list(map(_update, before, self._updates_of.values())))
            counted.append(updates * tf.cast(tf.size(labels), tf.float64))
        if self._teacher_momentum is not None:
            self._follow()
        return [loss, *counted]

    def _follow(self):
        """Moves the teacher towards the model."""
        for average, weight in weights_in_pairs(self._teacher, self.model):
            step = (1 - self._teacher_momentum) * (weight.value - average.value)
            average.assign_add(step)

    def _count_correct_in(self, images, labels):
        logits = keras.tree.flatten(self.model(images, training=False))
        return _correct_per_exit(labels, logits)


def _correct_per_exit(labels, logits):
    """How many samples each exit gets right, int64 `(exits,)`."""
    return tf.stack(
        [
            tf.math.count_nonzero(tf.argmax(exit, axis=-1, output_type=tf.int32) == labels)
            for exit in logits
        ]
    )


def _update(before, variables):
    """‖Δw‖ / ‖w‖ of variables all together, a float64 scalar."""
    changes = [variable.value - value for variable, value in zip(variables, before, strict=True)]
    return tf.cast(tf.linalg.global_norm(changes) / tf.linalg.global_norm(before), tf.float64)
