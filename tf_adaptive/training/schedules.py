"""Learning rates and temperatures over the steps of a training."""

import math

import keras

from tf_adaptive.errors import InputError, check_above_0, check_choice, check_whole

SCHEDULES = ("multi_step", "cosine")


def learning_rate_schedule(
    name, *, learning_rate, epochs, steps_per_epoch, drop_epochs=None, warmup_epochs=0
):
    """The learning rate of every step, by name.

    "multi_step" divides the rate by 10 at the start of each of `drop_epochs`; "cosine" lets it
    fall to 0 along half a cosine (Loshchilov & Hutter 2017, equation 5, without restarts).

    Args:
        name: "multi_step" or "cosine".
        learning_rate: the highest rate, above 0.
        epochs: passes over the training images, at least 1.
        steps_per_epoch: batches in a pass, at least 1.
        drop_epochs: for "multi_step", rising numbers of epochs after which the rate drops; None
            drops it after a half and three quarters of `epochs`, as published (150 and 225
            of 300).
        warmup_epochs: the rate rises linearly from 0 over these first epochs; a fraction of an
            epoch will do.

    Returns:
        A `keras.optimizers.schedules.LearningRateSchedule`.

    Raises:
        InputError: an unknown name or a number out of range.
    """
    check_choice("schedule", name, SCHEDULES)
    check_whole("epochs", epochs, least=1)
    check_whole("steps_per_epoch", steps_per_epoch, least=1)
    check_above_0("learning_rate", learning_rate)
    if not 0 <= warmup_epochs < epochs:
        raise InputError(
            f"`warmup_epochs` must be at least 0 and below `epochs`, {epochs}. "
            f"Received: warmup_epochs={warmup_epochs}."
        )
    warmup_steps = round(warmup_epochs * steps_per_epoch)
    if name == "cosine":
        if drop_epochs is not None:
            raise InputError(
                "`drop_epochs` must be left out with the schedule 'cosine'. "
                f"Received: drop_epochs={drop_epochs}."
            )
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup_steps else learning_rate,
            decay_steps=epochs * steps_per_epoch - warmup_steps,
            warmup_target=learning_rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    if drop_epochs is None:
        drop_epochs = (epochs / 2, epochs * 3 / 4)
    drops = [0, *drop_epochs, epochs]
    # In this form, NaN is refused too.
    if not all(earlier < later for earlier, later in zip(drops, drops[1:], strict=False)):
        raise InputError(
            f"`drop_epochs` must rise and lie between 0 and `epochs`, {epochs}. "
            f"Received: drop_epochs={drop_epochs}."
        )
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        # Keras still gives the earlier value at the boundary itself.
        [math.ceil(drop * steps_per_epoch) - 1 for drop in drop_epochs],
        [learning_rate * 0.1**drop for drop in range(len(drop_epochs) + 1)],
    )
    return WarmUp(schedule, warmup_steps) if warmup_steps else schedule


def temperature_schedule(first, last, *, steps):
    """A temperature that goes from `first` to `last` by the same factor at every step.

    Args:
        first: temperature of the first step, above 0.
        last: temperature after `steps` steps, above 0.
        steps: at least 1.

    Returns:
        A `keras.optimizers.schedules.LearningRateSchedule`.

    Raises:
        InputError: a number out of range.
    """
    check_above_0("temperature", first)
    check_above_0("final_temperature", last)
    check_whole("steps", steps, least=1)
    return keras.optimizers.schedules.ExponentialDecay(first, steps, last / first)


@keras.saving.register_keras_serializable(package="tf_adaptive")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, times a factor that rises from 0 to 1 over the first steps.

    Args:
        schedule: a `keras.optimizers.schedules.LearningRateSchedule`.
        warmup_steps: number of steps until the factor is 1, at least 1.
    """

    def __init__(self, schedule, warmup_steps):
        super().__init__()
        self.schedule = schedule
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        factor = keras.ops.cast(step, "float32") / self.warmup_steps
        return self.schedule(step) * keras.ops.minimum(factor, 1.0)

    def get_config(self):
        return {
            "schedule": keras.optimizers.schedules.serialize(self.schedule),
            "warmup_steps": self.warmup_steps,
        }

    @classmethod
    def from_config(cls, config):
        schedule = keras.optimizers.schedules.deserialize(config["schedule"])
        return cls(schedule, config["warmup_steps"])
