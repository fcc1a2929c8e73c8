"""The routing of a DRNet, its second phase, as the training of a trial."""

import keras

from tf_adaptive.models.drnet import DRNet
from tf_adaptive.reports.logits import collect_logits, percent
from tf_adaptive.routing.costs import branch_costs
from tf_adaptive.training.drnet_phases import routing_step, take_classifier
from tf_adaptive.training.history import read_last_row
from tf_adaptive.tuning.objective import accuracy_at_target, price_of_cost
from tf_adaptive.tuning.resumed import train_or_resume
from tf_adaptive.tuning.trials import Point


class DRNetTrainer:
    """Trains the routing with a trial's hyperparameters, always from the same classifier.

    They are "flops_weight" (η of Zhu et al. 2021), "target_factor" (α of the FLOPs loss as a part
    of the target), "temperature" and "final_temperature" (τ at first and at the end),
    "predictor_learning_rate_factor", and "resolutions" (the candidates, as "96,72,48"), of which
    the classifier has all that any trial has.

    The objective is `accuracy_at_target` of the validation images after the last epoch, the cost
    being the classifier's, as in the target.

    Args:
        dataset: `ImageDataset`.
        trained: `tf_adaptive.DRNet` whose first phase is done.
        preset: of `DRNet.from_preset`.
        dtype: dtype policy of the layers, or None.
        devices: `Devices`.
        target_gflops: the mean cost of the classifier wanted, in 10⁹ multiply-accumulates.
        batch_size, seed, checkpoint_seconds, progress: see `train`.
        descent: `Descent` of all trials, over the epochs of a whole one.
        dense: see `RoutedStep`.

    Attributes:
        fixed_points: a `Point` per resolution of `trained`, what its classifier reaches there.
        points_per_gflop: see `price_of_cost`.
    """

    def __init__(
        self,
        dataset,
        trained,
        *,
        preset,
        dtype,
        devices,
        target_gflops,
        descent,
        dense,
        batch_size,
        seed,
        checkpoint_seconds,
        progress,
    ):
        self._dataset = dataset
        self._trained = trained
        self._preset = preset
        self._dtype = dtype
        self._devices = devices
        self._target_gflops = target_gflops
        self._descent = descent
        self._dense = dense
        self._batch_size = batch_size
        self._seed = seed
        self._checkpoint_seconds = checkpoint_seconds
        self._progress = progress
        self.fixed_points = _fixed_points(trained, dataset.batches("validation", batch_size))
        self.points_per_gflop = price_of_cost(self.fixed_points, target_gflops)

    def build(self, values):
        """The DRNet of a trial, with the trained classifier."""
        keras.utils.set_random_seed(self._seed)
        with self._devices.scope():
            model = DRNet.from_preset(
                self._preset,
                dtype=self._dtype,
                resolutions=[int(side) for side in values["resolutions"].split(",")],
                channels=self._dataset.image_shape[-1],
                num_classes=self._dataset.num_classes,
                temperature=values["temperature"],
                seed=self._seed,
            )
        take_classifier(model, self._trained)
        return model

    def train(self, model, values, *, epochs, trial_directory, training_directory):
        """Trains it up to `epochs` in the training's directory; see `search`."""
        del trial_directory
        costs = branch_costs(model)
        with self._devices.scope():
            step = routing_step(
                model,
                costs,
                self._descent,
                target_gflops=values["target_factor"] * self._target_gflops,
                flops_weight=values["flops_weight"],
                temperature=values["temperature"],
                final_temperature=values["final_temperature"],
                predictor_learning_rate_factor=values["predictor_learning_rate_factor"],
                dense=self._dense,
            )
        train_or_resume(
            step,
            self._dataset,
            devices=self._devices,
            epochs=epochs,
            batch_size=self._batch_size,
            seed=self._seed,
            run_dir=training_directory,
            config=values,
            checkpoint_seconds=self._checkpoint_seconds,
            progress=self._progress,
        )
        row = read_last_row(training_directory)
        point = Point(
            name="",
            mean_gflops=row["validation_mean_gflops"],
            accuracy_percent=100 * row["validation_accuracy"],
        )
        objective = accuracy_at_target(
            point.accuracy_percent,
            point.mean_gflops - costs.predictor_macs / 1e9,
            target_gflops=self._target_gflops,
            points_per_gflop=self.points_per_gflop,
        )
        return [point], objective


def _fixed_points(model, batches):
    logits, labels = collect_logits(model.every_resolution(), batches)
    costs = branch_costs(model)
    return [
        Point(f"{resolution} pixels", gflops, percent(branch.argmax(axis=-1) == labels))
        for resolution, gflops, branch in zip(
            costs.resolutions, costs.branch_gflops, logits, strict=True
        )
    ]
