"""A whole training in one call, of any network of this package."""

import pathlib

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.extras import check_extra
from tf_adaptive.models.drnet import is_routed
from tf_adaptive.routing.costs import branch_costs
from tf_adaptive.runs.directory import finish_run, load_finished_run, open_run
from tf_adaptive.runs.evaluate import evaluate
from tf_adaptive.training import loop
from tf_adaptive.training.descent import Descent
from tf_adaptive.training.drnet_phases import classifier_step, routing_step, take_classifier
from tf_adaptive.training.multi_exit_phases import phase_1_step
from tf_adaptive.training.progress import BarProgress

_CHECKPOINT_SECONDS = 300.0


def train(
    model,
    dataset,
    *,
    epochs,
    batch_size=64,
    learning_rate=0.1,
    schedule="cosine",
    warmup_epochs=0.0,
    momentum=0.9,
    nesterov=True,
    weight_decay=1e-4,
    label_smoothing=0.0,
    exit_weights=None,
    target_gflops=None,
    flops_weight=0.2,
    dense=True,
    seed=0,
    run_dir=None,
    resume=False,
):
    """Trains a network, as `tf_adaptive.train`.

    One with exits on all of them together; a DRNet in its two phases, so many epochs each: the
    classifier at all resolutions, then with the predictor that picks among them. What the programs
    can beside this (recipes, pruning, searches, frozen backbones) is theirs.

    Args:
        model: functional `keras.Model` with K exits, or `tf_adaptive.DRNet`; it is trained in
            place.
        dataset: `ImageDataset`.
        epochs: passes over the training images.
        batch_size: images in a batch.
        learning_rate, schedule, warmup_epochs: see `learning_rate_schedule`; "multi_step" divides
            by 10 after a half and three quarters.
        momentum, nesterov, weight_decay, label_smoothing: see `Descent`.
        exit_weights: see `multi_exit_cross_entropy`.
        target_gflops: of a DRNet, which must be given it, the mean cost wanted.
        flops_weight: of a DRNet, see `flops_regularized_cross_entropy`.
        dense: of a DRNet, see `RoutedStep`.
        seed: what order and augmentation are drawn from; the weights are the model's.
        run_dir: directory to write a run to, which `load_run` and the programs take; None writes
            nothing.
        resume: continue the run in `run_dir`, with a model made as then.

    Returns:
        The rows of the epochs that were trained now, see `tf_adaptive.training.loop.train`.

    Raises:
        InputError: a number out of range, a `run_dir` that does not fit, or a data set without
            settings for one.

    Example:
        >>> rows = ta.train(model, data, epochs=1, learning_rate=0.05)
        >>> rows[0]["epoch"]
        1
    """
    settings = {
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "warmup_epochs": warmup_epochs,
        "momentum": momentum,
        "nesterov": nesterov,
        "weight_decay": weight_decay,
        "label_smoothing": label_smoothing,
    }
    check_whole("seed", seed, least=0, most=2**32 - 1)
    loop.check_training(
        dataset,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        checkpoint_seconds=_CHECKPOINT_SECONDS,
    )
    descent = Descent(
        epochs=epochs,
        steps_per_epoch=dataset.steps_per_epoch(batch_size),
        **{name: value for name, value in settings.items() if name != "batch_size"},
    )
    if is_routed(model):
        steps = _phases(model, descent, target_gflops, flops_weight, dense)
        settings |= {"target_gflops": target_gflops, "flops_weight": flops_weight, "dense": dense}
    else:
        if target_gflops is not None:
            raise InputError(
                "`target_gflops` must be left out for a network with exits. "
                f"Received: target_gflops={target_gflops}."
            )
        steps = [
            phase_1_step(model, descent.with_drop_shares((1 / 2, 3 / 4)), exit_weights=exit_weights)
        ]
        settings["exit_weights"] = None if exit_weights is None else list(exit_weights)
    run = _Run(run_dir, dataset, settings | {"epochs": epochs, "seed": seed}, resume)
    rows = []
    for number, step in enumerate(steps, start=1):
        rows += run.train(step, model, number if len(steps) > 1 else None)
    run.finish(model)
    return rows


def _phases(model, descent, target_gflops, flops_weight, dense):
    costs = branch_costs(model)
    if target_gflops is None:
        raise InputError(
            f"`target_gflops` must be given for a DRNet, from {min(costs.branch_gflops):.4g} to "
            f"{max(costs.branch_gflops):.4g}. Received: none."
        )
    routing = routing_step(
        model,
        costs,
        descent,
        target_gflops=target_gflops,
        flops_weight=flops_weight,
        temperature=1.0,
        final_temperature=None,
        predictor_learning_rate_factor=0.1,
        dense=dense,
    )
    return [classifier_step(model, descent), routing]


class _Run:
    """Where a training is written, or nowhere."""

    def __init__(self, run_dir, dataset, settings, resume):
        self._directory = None if run_dir is None else pathlib.Path(run_dir)
        self._dataset, self._settings, self._resume = dataset, settings, resume
        self._config = None
        if run_dir is None:
            return
        check_extra("report")
        if dataset.settings is None:
            raise InputError(
                "`dataset` must be one of `load_dataset` for a run, which names its data. "
                f"Received: {dataset.name!r}."
            )
        self._config = settings | dataset.settings | dataset.description()

    def train(self, step, model, phase):
        """Trains a phase, in the run's directory or in one inside it."""
        directory = self._directory
        if directory is not None and phase is not None:
            directory = directory / f"stage_{phase}"
            if phase == 1:
                open_run(self._directory, self._config, resume=self._resume)
            if (directory / "model.keras").exists():
                take_classifier(model, load_finished_run(directory)[1])
                return []
        is_begun = directory is not None and (directory / "config.json").exists()
        rows = loop.train(
            step,
            self._dataset,
            epochs=self._settings["epochs"],
            batch_size=self._settings["batch_size"],
            seed=self._settings["seed"],
            run_dir=directory,
            config=self._config,
            resume=self._resume if phase is None else is_begun,
            checkpoint_seconds=_CHECKPOINT_SECONDS,
            progress=BarProgress(),
        )
        if directory is not None and phase == 1:
            finish_run(directory, model)
        return rows

    def finish(self, model):
        if self._directory is not None:
            finish_run(self._directory, model)
            evaluate(model, self._dataset).write(self._directory / "report")
