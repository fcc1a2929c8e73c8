"""How a training descends: its learning rate over the steps, its optimizer, what it adds."""

import dataclasses
from collections.abc import Sequence

from tf_adaptive.training.gradient_step import sgd
from tf_adaptive.training.schedules import learning_rate_schedule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Descent:
    """Settings of stochastic gradient descent over a whole training.

    They are refused where they are used, not here.

    Attributes:
        schedule, learning_rate, epochs, steps_per_epoch, drop_epochs, warmup_epochs: see
            `tf_adaptive.training.schedules.learning_rate_schedule`.
        momentum, nesterov: see `sgd`.
        weight_decay: see `GradientStep`.
        label_smoothing: see `multi_exit_cross_entropy`.
    """

    schedule: str
    learning_rate: float
    epochs: int
    steps_per_epoch: int
    drop_epochs: Sequence[float] | None = None
    warmup_epochs: float = 0.0
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.0
    label_smoothing: float = 0.0

    @property
    def steps(self):
        """Steps of the whole training."""
        return self.epochs * self.steps_per_epoch

    def with_drop_shares(self, shares):
        """The same; where `drop_epochs` is None, "multi_step" drops at these shares of `epochs`."""
        if self.drop_epochs is not None or self.schedule != "multi_step":
            return self
        return dataclasses.replace(self, drop_epochs=[share * self.epochs for share in shares])

    def learning_rate_schedule(self, factor=1.0):
        """The learning rate of every step, times `factor`.

        Returns:
            A `keras.optimizers.schedules.LearningRateSchedule`.

        Raises:
            InputError: what `learning_rate_schedule` raises.
        """
        return learning_rate_schedule(
            self.schedule,
            learning_rate=factor * self.learning_rate,
            epochs=self.epochs,
            steps_per_epoch=self.steps_per_epoch,
            drop_epochs=self.drop_epochs,
            warmup_epochs=self.warmup_epochs,
        )

    def optimizer(self, factor=1.0):
        """A new optimizer with that schedule, its rates times `factor`.

        Returns:
            `keras.optimizers.SGD`.

        Raises:
            InputError: what `learning_rate_schedule` and `sgd` raise.
        """
        return sgd(
            self.learning_rate_schedule(factor), momentum=self.momentum, nesterov=self.nesterov
        )
