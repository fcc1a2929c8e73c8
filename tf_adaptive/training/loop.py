"""The training loop: epochs, validation, checkpoints and how to continue from them."""

import contextlib
import math
import pathlib
import time

import tensorflow as tf

from tf_adaptive.errors import DivergenceError, InputError, check_whole
from tf_adaptive.extras import check_extra
from tf_adaptive.runs.directory import open_run
from tf_adaptive.training.checkpoints import Checkpoints
from tf_adaptive.training.history import History
from tf_adaptive.training.progress import Progress
from tf_adaptive.training.strategy import check_batch_size

# Reading the metrics waits for the step, so they are not read after every one.
_SECONDS_BETWEEN_REPORTS = 1.0


def train(
    step,
    dataset,
    *,
    devices=None,
    epochs,
    batch_size,
    seed,
    run_dir,
    config=None,
    resume=False,
    may_differ=(),
    checkpoint_seconds=600.0,
    checkpoint_steps=None,
    progress=None,
):
    """Trains for some epochs, validating after each, in a run directory.

    A run killed at any point continues with `resume` exactly where its last checkpoint was, or the
    one before where that is damaged, and ends with the same weights and the same `history.csv`
    (times apart) as if it had not been.
    Checkpoints are written at the start, after each epoch and, within an epoch, when
    `checkpoint_seconds` or `checkpoint_steps` have passed since the last.

    Where several processes train together (`strategy_named`), all call it with the same arguments
    and with a `run_dir` that all of them see; the chief alone writes there.

    Columns of `history.csv`: epoch (from 1), learning_rate (of the epoch's last step), the
    step's metrics, images_per_second and seconds (of training, without validation).

    Args:
        step: a `GradientStep`, such as `TrainStep`.
        dataset: an `ImageDataset` or a `FeatureDataset`.
        devices: `Devices` in whose scope the step was made; None for one device.
        epochs: passes over the training images.
        batch_size: images in a batch.
        seed: what order and augmentation of the images are drawn from.
        run_dir: directory of the run; see `tf_adaptive.runs.directory`. None writes nothing.
        config: dict of every setting, to be stored or compared; see `start_run`.
        resume: continue the run in `run_dir` instead of starting one.
        may_differ: settings that may differ on resuming; see `check_resumed_run`.
        checkpoint_seconds: time between checkpoints within an epoch.
        checkpoint_steps: steps between them; None counts only seconds.
        progress: a `Progress`; None reports nothing.

    Returns:
        The rows of the epochs that were trained now, a list of dictionaries with the columns of
        `history.csv`.

    Raises:
        InputError: a number out of range, fewer training images than a batch holds, no
            validation images, batches that the replicas do not divide, or a `run_dir` that does
            not fit; nothing on disk has changed.
        DivergenceError: a loss that is no longer finite.
    """
    check_training(
        dataset,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        checkpoint_seconds=checkpoint_seconds,
        checkpoint_steps=checkpoint_steps,
    )
    _check_replicas(step.replicas, dataset, batch_size)
    is_chief = step.part[0] == 0
    progress = progress if progress and is_chief else Progress()
    training = _Training(step, dataset, epochs, batch_size, seed, progress)
    if run_dir is not None:
        # Its numbers are written for TensorBoard.
        check_extra("programs")
        # The chief leaves the directory as the others are to find it.
        if not is_chief:
            step.wait_for_all()
        training.open(pathlib.Path(run_dir), config, resume, may_differ, is_chief)
        if is_chief:
            step.wait_for_all()
    with contextlib.nullcontext() if devices is None else devices.prepared(step):
        training.run(checkpoint_seconds, checkpoint_steps or math.inf)
    return training.rows


def check_training(dataset, *, epochs, batch_size, seed, checkpoint_seconds, checkpoint_steps=None):
    """Refuses what `train` would refuse of these, see there."""
    check_whole("epochs", epochs, least=1)
    check_whole("batch_size", batch_size, least=1)
    check_whole("seed", seed, least=0)
    if checkpoint_steps is not None:
        check_whole("checkpoint_steps", checkpoint_steps, least=1)
    if not checkpoint_seconds > 0:
        raise InputError(
            "`checkpoint_seconds` must be above 0. "
            f"Received: checkpoint_seconds={checkpoint_seconds}."
        )
    if dataset.sizes["train"] < batch_size:
        raise InputError(
            "There must be as many training images as a batch holds, or more. Received: "
            f"{dataset.sizes['train']} training images; lower `batch_size`, which is {batch_size}."
        )
    if not dataset.sizes["validation"]:
        raise InputError("`dataset` must have validation images. Received: none.")


def _check_replicas(replicas, dataset, batch_size):
    check_batch_size(batch_size, replicas)
    last = dataset.sizes["train"] % batch_size
    if 0 < last < replicas:
        raise InputError(
            f"The last batch of an epoch must have an image for each of the {replicas} replicas. "
            f"Received: {last} of {dataset.sizes['train']} training images; lower `train_size` by "
            f"{last}, or choose another `batch_size`."
        )


class _Training:
    """A training and where it stands."""

    def __init__(self, step, dataset, epochs, batch_size, seed, progress):
        self._step = step
        self._dataset = dataset
        self._epochs = epochs
        self._batch_size = batch_size
        self._seed = seed
        self._progress = progress
        # Whole epochs done, batches done of the next one, and the seconds they took.
        self._epoch = tf.Variable(0, dtype=tf.int64)
        self._batch = tf.Variable(0, dtype=tf.int64)
        self._seconds = tf.Variable(0.0, dtype=tf.float64)
        self._checkpoints = self._history = None
        self.rows = []

    def open(self, run_dir, config, resume, may_differ, is_chief):
        position = [self._epoch, self._batch, self._seconds]
        checkpoints = Checkpoints(
            run_dir / "checkpoints",
            self._step.variables | {"position": position},
            read_only=not is_chief,
        )
        if not is_chief:
            if resume and checkpoints.started():
                checkpoints.restore()
            return
        self._checkpoints = checkpoints
        open_run(run_dir, config, resume=resume, may_differ=may_differ)
        if resume:
            # A run killed before its first checkpoint has lost nothing by starting over.
            if self._checkpoints.started() or (run_dir / "history.csv").exists():
                for path in self._checkpoints.restore():
                    self._progress.note(
                        f"{path}.* is damaged: the training goes on from the checkpoint before it."
                    )
            else:
                self._checkpoints.save()
        else:
            self._checkpoints.save()
        self._history = History(run_dir, epochs=int(self._epoch))

    def run(self, checkpoint_seconds, checkpoint_steps):
        train_size = self._dataset.sizes["train"]
        self._progress.start(
            total_images=self._epochs * train_size,
            done_images=int(self._epoch) * train_size + int(self._batch) * self._batch_size,
        )
        try:
            while int(self._epoch) < self._epochs:
                self._train_epoch(checkpoint_seconds, checkpoint_steps)
                self._finish_epoch()
        finally:
            self._progress.stop()

    def _train_epoch(self, checkpoint_seconds, checkpoint_steps):
        batches = self._dataset.training_batches(
            self._batch_size,
            epoch=int(self._epoch),
            seed=self._seed,
            first_batch=int(self._batch),
            part=self._step.part,
        )
        batches_left = self._dataset.steps_per_epoch(self._batch_size) - int(self._batch)
        reported = saved = time.monotonic()
        started = saved - float(self._seconds)
        unsaved_steps = unreported_images = 0
        for step, (images, labels) in enumerate(batches, start=1):
            self._step(images, labels)
            self._batch.assign_add(1)
            now = time.monotonic()
            self._seconds.assign(now - started)
            unsaved_steps += 1
            unreported_images += len(labels) * self._step.part[1]
            if now - reported >= _SECONDS_BETWEEN_REPORTS or step == batches_left:
                self._report(unreported_images)
                reported, unreported_images = now, 0
            # The last batch's checkpoint is the finished epoch's.
            due = unsaved_steps >= checkpoint_steps or now - saved >= checkpoint_seconds
            if due and step < batches_left:
                self._save()
                saved, unsaved_steps = time.monotonic(), 0

    def _report(self, images):
        metrics = self._step.metrics()
        if not math.isfinite(metrics["loss"]):
            raise self._not_finite()
        self._progress.update(
            epoch=int(self._epoch) + 1, epochs=self._epochs, images=images, metrics=metrics
        )

    def _save(self):
        if not self._step.is_finite():
            raise self._not_finite()
        if self._checkpoints is not None:
            self._checkpoints.save()

    def _not_finite(self):
        return DivergenceError(
            "The loss and the weights must stay finite. Received: NaN or infinity at epoch "
            f"{int(self._epoch) + 1}, step {int(self._batch)}; lower `learning_rate`."
        )

    def _finish_epoch(self):
        row = {
            "epoch": int(self._epoch) + 1,
            "learning_rate": self._step.learning_rate,
            **self._step.metrics(),
            **self._step.validate(
                self._dataset.batches("validation", self._batch_size, self._step.part)
            ),
            "images_per_second": self._dataset.sizes["train"] / float(self._seconds),
            "seconds": float(self._seconds),
        }
        self.rows.append(row)
        if self._history is not None:
            self._history.append(row)
        self._progress.epoch_done(epochs=self._epochs, row=row)
        self._step.reset()
        self._epoch.assign_add(1)
        self._batch.assign(0)
        self._seconds.assign(0.0)
        self._save()
