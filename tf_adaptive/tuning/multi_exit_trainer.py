"""Both phases of a network with several exits as the training of a trial."""

import dataclasses
import pathlib

import keras
import numpy as np

from tf_adaptive.exits.costs import profile
from tf_adaptive.exits.gradient_equilibrium import with_gradient_equilibrium
from tf_adaptive.training.history import read_last_row
from tf_adaptive.training.multi_exit_phases import (
    frozen_features,
    phase_1_step,
    phase_2_networks,
    phase_2_step,
)
from tf_adaptive.tuning.resumed import train_or_resume
from tf_adaptive.tuning.trials import Point

# Of phase II: its features are kept, as trials are many and short.
AUGMENTED_PASSES = 1


class MultiExitTrainer:
    """Trains phase I and then phase II (Li et al. 2019) with a trial's hyperparameters.

    They are "exit_weight_ratio" (see `exit_weight_ramp`), "gradient_equilibrium" ("on" or "off"),
    and of phase II "alpha" and "distillation_temperature" (see `one_for_all_distillation`).

    The objective is the mean of the exits' accuracies on the validation images after the last
    epoch, in percent.

    Args:
        dataset: `ImageDataset`.
        build_network: function that builds the network anew, for a dtype policy.
        dtype: dtype policy of the layers in phase I.
        devices: `Devices`.
        phase_2_epochs: passes over the features; 0 for no phase II.
        batch_size, seed, checkpoint_seconds, progress: see `train`.
        descent: `Descent` of all trials' phase I, over the epochs of a whole one; phase II takes
            its schedule, highest rate, momentum and weight decay.
    """

    def __init__(
        self,
        dataset,
        build_network,
        *,
        dtype,
        devices,
        descent,
        phase_2_epochs,
        batch_size,
        seed,
        checkpoint_seconds,
        progress,
    ):
        self._dataset = dataset
        self._build_network = build_network
        self._dtype = dtype
        self._descent = descent
        self._phase_2_epochs = phase_2_epochs
        self._seed = seed
        self._devices = devices
        self._training = {
            "devices": devices,
            "batch_size": batch_size,
            "seed": seed,
            "checkpoint_seconds": checkpoint_seconds,
            "progress": progress,
        }

    def build(self, values):
        """The network of a trial's phase I."""
        keras.utils.set_random_seed(self._seed)
        with self._devices.scope():
            model = self._build_network(self._dtype)
            balanced = values["gradient_equilibrium"] == "on"
            return with_gradient_equilibrium(model) if balanced else model

    def train(self, model, values, *, epochs, trial_directory, training_directory):
        """Trains phase I up to `epochs`, and phase II after it; see `search`."""
        first = training_directory / "phase_1"
        with self._devices.scope():
            step = phase_1_step(
                model,
                self._descent,
                exit_weights=exit_weight_ramp(values["exit_weight_ratio"], len(model.outputs)),
            )
        train_or_resume(
            step, self._dataset, epochs=epochs, run_dir=first, config=values, **self._training
        )
        trained = self._build_network("float32")
        trained.set_weights([weight.numpy() for weight in model.weights])
        last = first
        if self._phase_2_epochs:
            last = trial_directory / "phase_2"
            trained = self._train_phase_2(trained, values, last)
        row = read_last_row(last)
        points = [
            Point(
                name=f"exit {number}",
                mean_gflops=cost.macs / 1e9,
                accuracy_percent=100 * row[f"validation_accuracy_exit_{number}"],
            )
            for number, cost in enumerate(profile(trained), start=1)
        ]
        return points, float(np.mean([point.accuracy_percent for point in points]))

    def _train_phase_2(self, trained, values, directory):
        keras.utils.set_random_seed(self._seed)
        descent = dataclasses.replace(
            self._descent, epochs=self._phase_2_epochs, drop_epochs=None, warmup_epochs=0.0
        )
        with self._devices.scope():
            model, backbone, heads, teacher = phase_2_networks(
                trained, collaboration_path="prediction"
            )
            step = phase_2_step(
                heads,
                teacher,
                descent,
                alpha=values["alpha"],
                temperature=values["distillation_temperature"],
            )
        features = frozen_features(
            backbone,
            self._dataset,
            augmented_passes=AUGMENTED_PASSES,
            seed=self._seed,
            folder=pathlib.Path(directory).parent,
        )
        train_or_resume(
            step,
            features,
            epochs=self._phase_2_epochs,
            run_dir=directory,
            config=values,
            **self._training,
        )
        return model


def exit_weight_ramp(ratio, num_exits):
    """Weights of the exits' losses on a straight line, with the mean 1.

    One number for all exits: a factor common to all of them would be one of the learning rate.

    Args:
        ratio: the last exit's weight by the first's, above 0.
        num_exits: K, at least 2.

    Returns:
        List of K floats.
    """
    first = 2 / (1 + ratio)
    return np.linspace(first, ratio * first, num_exits).tolist()
