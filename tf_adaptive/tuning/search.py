"""The search itself: keras-tuner proposes, a training answers.

The one module that imports keras-tuner. Import it where a search begins, and not before.
"""

import dataclasses
import math
import sys
import tempfile
import warnings

from tf_adaptive.errors import DivergenceError, InputError, check_choice, check_whole
from tf_adaptive.extras import check_extra
from tf_adaptive.tuning.space import Range, check_space, fixed_values
from tf_adaptive.tuning.trials import FAILED, FINISHED, RUNNING, Trial

# keras-tuner fails at every trial without tensorboard, its Bayesian search without scikit-learn.
check_extra("tune")
import keras_tuner  # noqa: E402

METHODS = ("bayesian", "hyperband", "random")
# Hyperband needs two rounds: some epochs for all, and these times as many for the best.
HYPERBAND_FACTOR = 3
_OBJECTIVE = "objective"


def search(space, trainer, trials, *, method, count, epochs, seed, begun=None, done=None):
    """Searches for the values with the highest objective.

    The first trial is the defaults. A trial that is in `trials` already is not trained again, one
    that was interrupted goes on where it was: called again after an interruption, the search
    proposes the same values from the same seed and ends with the same trials.

    Args:
        space: list of `Range` and `Choice`.
        trainer: object with the methods `build(values)`, which gives a trial's `keras.Model`, and
            `train(model, values, *, epochs, trial_directory, training_directory)`, which trains it
            up to that many epochs, going on with what is in the directory, and gives
            `(points, objective)`, a list of `Point` and a float.
        trials: `Trials`, which are read and written.
        method: "bayesian" (Gaussian process), "hyperband" (Li et al. 2018) or "random".
        count: number of trials; None with "hyperband", where it follows from `epochs`.
        epochs: passes over the training images of a whole trial; "hyperband" stops the worse ones
            before.
        seed: what the proposals are drawn from, from 0.
        begun: None, or a function that is called with each `Trial` before it is trained.
        done: None, or a function that is called with each `Trial` after it was trained.

    Raises:
        InputError: an argument out of range, or what training raises but a loss that is no longer
            finite: that trial is a failed one.
    """
    check_search(space, method=method, count=count, epochs=epochs, seed=seed)
    hypermodel = _HyperModel(space, trainer, trials, epochs, go_on=method == "hyperband")
    oracle = _oracle(space, method, count=count, epochs=epochs, seed=seed)
    # What keras-tuner itself writes is not whole at every moment; `trials` are, and enough.
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        # A failed trial's objective, and fits of a Gaussian process to few trials.
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        warnings.filterwarnings("ignore", module="sklearn")
        tuner = _Tuner(
            oracle=oracle, hypermodel=hypermodel, directory=directory, project_name="search"
        )
        oracle.verbose = 0
        tuner.begun, tuner.done = begun, done
        try:
            tuner.search()
        except keras_tuner.errors.FatalError as error:
            raise error.__cause__ or error from None
    trials.remove_checkpoints()


def check_search(space, *, method, count, epochs, seed):
    """Refuses what `search` would refuse of these, see there."""
    check_space(space)
    check_choice("search", method, METHODS)
    check_whole("seed", seed, least=0)
    if method == "hyperband":
        if count is not None:
            raise InputError(
                "`trials` must be left out with hyperband, which takes as many as `epochs` make. "
                f"Received: trials={count}."
            )
        check_whole("epochs", epochs, least=HYPERBAND_FACTOR)
    else:
        check_whole("trials", count, least=2)
        check_whole("epochs", epochs, least=1)


def _oracle(space, method, *, count, epochs, seed):
    """Keras-tuner's source of proposals, but for the defaults as the first."""
    free = [parameter for parameter in space if not parameter.is_fixed]
    defaults = {parameter.name: parameter.default for parameter in free}
    if method == "bayesian":
        kind = keras_tuner.oracles.BayesianOptimizationOracle
        # Keras-tuner's own number at most; half of a short search.
        own = {"max_trials": count, "num_initial_points": max(2, min(3 * len(free), count // 2))}
    elif method == "hyperband":
        kind = keras_tuner.oracles.HyperbandOracle
        own = {"max_epochs": epochs, "factor": HYPERBAND_FACTOR}
        # No member of a bracket: the defaults are trained to the end.
        defaults |= {"tuner/epochs": epochs, "tuner/initial_epoch": 0}
    else:
        kind = keras_tuner.oracles.RandomSearchOracle
        own = {"max_trials": count}

    class DefaultsFirst(kind):
        def populate_space(self, trial_id):
            if self.trials:
                return super().populate_space(trial_id)
            return {"status": "RUNNING", "values": defaults}

    return DefaultsFirst(
        objective=keras_tuner.Objective(_OBJECTIVE, "max"),
        # It takes 0 for no seed.
        seed=seed + 1,
        max_consecutive_failed_trials=sys.maxsize,
        **own,
    )


class _HyperModel(keras_tuner.HyperModel):
    """A training that knows nothing of keras-tuner, as keras-tuner wants it."""

    def __init__(self, space, trainer, trials, epochs, *, go_on):
        super().__init__()
        # Whether later trials may go on with the training of earlier ones.
        self._go_on = go_on
        self._space = space
        self._trainer = trainer
        self.trials = trials
        self.epochs = epochs

    def declare_hyperparameters(self, hp):
        for parameter in self._space:
            if parameter.is_fixed:
                continue
            if isinstance(parameter, Range):
                hp.Float(
                    parameter.name,
                    parameter.least,
                    parameter.most,
                    sampling="log" if parameter.log else "linear",
                    default=parameter.default,
                )
            else:
                hp.Choice(parameter.name, list(parameter.choices), default=parameter.default)

    def values(self, hp):
        free = (parameter.name for parameter in self._space if not parameter.is_fixed)
        return {name: hp.get(name) for name in free} | fixed_values(self._space)

    def build(self, hp):
        return self._trainer.build(self.values(hp))

    def fit(self, hp, model, *, ours, callbacks):
        # Not called: they would save the weights a second time.
        del callbacks
        try:
            points, objective = self._trainer.train(
                model,
                self.values(hp),
                epochs=ours.epochs,
                trial_directory=self.trials.directory(ours),
                training_directory=self.trials.training_directory(ours),
            )
            ours = dataclasses.replace(
                ours, status=FINISHED, points=tuple(points), objective=objective
            )
        except DivergenceError as error:
            ours = dataclasses.replace(ours, status=FAILED, message=str(error))
        self.trials.put(ours)
        if not self._go_on:
            self.trials.remove_checkpoints()
        return _told(ours)


class _Tuner(keras_tuner.Tuner):
    """Trains what is not trained yet."""

    def run_trial(self, trial):
        try:
            return self._run_or_read(trial)
        except Exception as error:
            # Keras-tuner would print any other and go on with the next trial.
            raise keras_tuner.errors.FatalError(str(error)) from error

    def _run_or_read(self, trial):
        trials = self.hypermodel.trials
        proposed = trial.hyperparameters.values
        number = int(trial.trial_id) + 1
        ours = trials.get(number)
        if ours is None:
            past = proposed.get("tuner/trial_id")
            ours = Trial(
                number=number,
                values=self.hypermodel.values(trial.hyperparameters),
                epochs=proposed.get("tuner/epochs", self.hypermodel.epochs),
                continues=None if past is None else int(past) + 1,
            )
            trials.put(ours)
        # A last digit may come out otherwise on another machine.
        proposed.update({name: value for name, value in ours.values.items() if name in proposed})
        if ours.status != RUNNING:
            return _told(ours)
        if self.begun:
            self.begun(ours)
        told = super().run_trial(trial, ours=ours)
        if self.done:
            self.done(trials.get(number))
        return told


def _told(trial):
    # Keras-tuner takes a trial whose objective is no number for a failed one.
    return {_OBJECTIVE: math.nan if trial.objective is None else trial.objective}
