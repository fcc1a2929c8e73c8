"""What happens to one batch of a network that picks resolutions."""

import numpy as np
import tensorflow as tf

from tf_adaptive.errors import InputError
from tf_adaptive.training.gradient_step import GradientStep

# Of these batches one is dense where not all are.
BATCHES_TO_A_DENSE_ONE = 4


class RoutedStep(GradientStep):
    """One step of gradient descent on a DRNet, predictor and classifier together.

    The metrics are "loss", and of training and validation images ("train_…", "validation_…")
    "accuracy", top-1 as a fraction, "mean_gflops" of an image, the predictor's included, and
    "share_<resolution>" of each candidate; and "temperature", that of the latest step.

    Args:
        model: a `tf_adaptive.DRNet`.
        optimizer: the `keras.optimizers.Optimizer` of the classifier.
        predictor_optimizer: that of the predictor.
        loss: a function of `labels`, integers `(batch,)`, and what `model.route` gives, that
            gives the scalar to minimise, a mean over the batch.
        costs: what `tf_adaptive.branch_costs` gives for the model.
        dense: whether every batch is, see `DRNet.route`; else one of `BATCHES_TO_A_DENSE_ONE`, the
            only ones that the predictor learns from.
        temperature_schedule: the temperature of the choice at every step, as a
            `keras.optimizers.schedules.LearningRateSchedule`; None leaves the model's.
        weight_decay: see `GradientStep`.
        pruning: see `GradientStep`.

    Raises:
        InputError: one optimizer for both parts, `weight_decay` out of range, or several replicas
            without `dense`.
    """

    def __init__(
        self,
        model,
        optimizer,
        predictor_optimizer,
        loss,
        costs,
        *,
        dense=False,
        temperature_schedule=None,
        weight_decay=0.0,
        pruning=None,
    ):
        if optimizer is predictor_optimizer:
            raise InputError(
                "`optimizer` and `predictor_optimizer` must be two, as each keeps the state of "
                "its own weights. Received: the same one twice."
            )
        if tf.distribute.get_strategy().num_replicas_in_sync > 1 and not dense:
            raise InputError(
                "`dense` must be set on several replicas: a resolution whose images are all on one "
                "of them has no statistics on the others. Received: dense=False."
            )
        self._loss = loss
        self._costs = costs
        self._dense = dense
        self._temperature_schedule = temperature_schedule
        self._optimizer = optimizer
        self._correct = tf.Variable(0, dtype=tf.int64)
        self._chosen = tf.Variable(tf.zeros(len(model.resolutions), tf.int64))
        predictor = {id(variable) for variable in model.predictor.trainable_variables}
        classifier = [v for v in model.trainable_variables if id(v) not in predictor]
        super().__init__(
            model,
            [
                (optimizer, classifier),
                (predictor_optimizer, model.predictor.trainable_variables),
            ],
            [self._correct, self._chosen],
            weight_decay=weight_decay,
            pruning=pruning,
        )
        self._count = tf.function(self._count_in, input_signature=self._signature)

    def metrics(self):
        means = self._means("train", self._mean(self._correct), self._mean(self._chosen))
        temperature = float(self.model.choice.temperature.numpy())
        return {"loss": float(self._mean(self._loss_sum)), **means, "temperature": temperature}

    def validate(self, batches):
        sums, total = [0, np.zeros(len(self._costs.resolutions), "int64")], 0
        for images, labels in batches:
            for number, count in enumerate(self._count(images, labels)):
                sums[number] = sums[number] + count.numpy()
            total += len(labels)
        *sums, total = map(np.asarray, self._added_over_processes([*sums, np.int64(total)]))
        return self._means("validation", *(value / total for value in sums))

    def _means(self, split, accuracy, shares):
        return {
            f"{split}_accuracy": float(accuracy),
            f"{split}_mean_gflops": self._costs.mean_gflops(shares),
            **{
                f"{split}_share_{resolution}": float(share)
                for resolution, share in zip(self._costs.resolutions, shares, strict=True)
            },
        }

    def _train_on(self, images, labels, share):
        if self._temperature_schedule is not None:
            self.model.choice.temperature.assign(
                self._temperature_schedule(self._optimizer.iterations)
            )
        # The two optimizers may scale the loss differently.
        with tf.GradientTape(persistent=self._scales_loss) as tape:
            routed = self._routed(images)
            loss = self._loss(labels, routed)
        self._descend(tape, loss, share)
        return [loss, *self._counts(labels, routed)]

    def _routed(self, images):
        def route(dense):
            return self.model.route(images, training=True, dense=dense)

        if self._dense:
            return route(True)
        # By the optimizer's count, which a checkpoint keeps.
        is_dense = self._optimizer.iterations % BATCHES_TO_A_DENSE_ONE == 0
        return tf.cond(is_dense, lambda: route(True), lambda: route(False))

    def _count_in(self, images, labels):
        return self._counts(labels, self.model.route(images))

    def _counts(self, labels, routed):
        """How many samples are right, int64, and how many go to each resolution `(m,)`."""
        predicted = tf.argmax(routed["logits"], axis=-1, output_type=tf.int32)
        chosen = tf.one_hot(routed["choice"], len(self._costs.resolutions), dtype=tf.int64)
        return tf.math.count_nonzero(predicted == labels), tf.reduce_sum(chosen, axis=0)
