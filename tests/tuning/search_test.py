import contextlib
import math

import keras
import pytest
import tensorflow as tf

from tf_adaptive.errors import DivergenceError, InputError
from tf_adaptive.tuning.search import search
from tf_adaptive.tuning.space import Choice, Range
from tf_adaptive.tuning.trials import FAILED, FINISHED, Point, Trials, best_trial

SPACE = [
    Range("rate", 0.01, 1.0, default=0.5, log=True),
    Range("factor", 0.5, 1.5, default=1.0),
    Range("fixed", 2.0, 2.0, default=1.0),
    Choice("kind", ("plain", "fancy"), "plain"),
]


class Trainer:
    """The best rate is 0.1; nothing is trained."""

    def __init__(self, interrupted_at=None, diverges_at=()):
        self.trained = []
        self._interrupted_at = interrupted_at
        self._diverges_at = diverges_at

    def build(self, values):
        assert values["fixed"] == 2.0
        return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])

    def train(self, model, values, *, epochs, trial_directory, training_directory):
        number = int(trial_directory.name)
        if number == self._interrupted_at:
            raise KeyboardInterrupt
        self.trained.append((number, epochs, training_directory.name))
        if number in self._diverges_at:
            raise DivergenceError("The loss must stay finite.")
        objective = -abs(math.log(values["rate"] / 0.1)) - (values["kind"] == "fancy") + epochs / 10
        return [Point("", values["factor"], 50 + objective)], objective


def run(directory, trainer, method="bayesian", count=4, epochs=1, seed=0):
    trials = Trials(directory)
    search(SPACE, trainer, trials, method=method, count=count, epochs=epochs, seed=seed)
    return trials.all()


@pytest.mark.parametrize("method", ["bayesian", "random"])
def test_trials(tmp_path, capfd, method):
    # TensorFlow's own notices come with its first use.
    tf.config.list_physical_devices()
    capfd.readouterr()
    trainer = Trainer()
    trials = run(tmp_path, trainer, method)
    assert [number for number, *_ in trainer.trained] == list(range(1, 5))
    assert trials[0].values == {"rate": 0.5, "factor": 1.0, "fixed": 2.0, "kind": "plain"}
    for trial in trials:
        assert trial.status == FINISHED and trial.epochs == 1
        assert 0.01 <= trial.values["rate"] <= 1 and 0.5 <= trial.values["factor"] <= 1.5
    assert len({trial.values["rate"] for trial in trials}) == 4
    assert best_trial(trials).objective == max(trial.objective for trial in trials)
    # Keras-tuner is silent, and leaves nothing.
    assert capfd.readouterr() == ("", "")
    assert {path.name for path in tmp_path.iterdir()} == {"trials"}
    other = run(tmp_path / "other", Trainer(), method, seed=1)
    assert other[1].values != trials[1].values


def test_bayesian_search_learns(tmp_path):
    trials = run(tmp_path, Trainer(), count=10)
    at_random, learnt = (
        sum(trial.objective for trial in some) / len(some) for some in (trials[:5], trials[5:])
    )
    assert learnt > at_random + 0.5


def test_hyperband(tmp_path):
    trainer = Trainer()
    trials = run(tmp_path, trainer, "hyperband", count=None, epochs=3)
    assert trials[0].epochs == 3 and trials[0].values["rate"] == 0.5
    promoted = [trial for trial in trials if trial.continues is not None]
    assert promoted
    for trial in promoted:
        past = trials[trial.continues - 1]
        assert past.values == trial.values
        assert (past.epochs, trial.epochs) == (1, 3)
        assert (trial.number, 3, f"{past.number:03}") in trainer.trained
    # The best of the first round goes on.
    first_round = [trial for trial in trials if trial.epochs == 1]
    best = max(first_round, key=lambda trial: trial.objective)
    assert best.number in {trial.continues for trial in promoted}
    assert best_trial(trials).epochs == 3


@pytest.mark.parametrize(
    ("method", "count", "epochs"), [("bayesian", 4, 1), ("hyperband", None, 3)]
)
def test_interrupted_search_ends_with_the_same_trials(tmp_path, method, count, epochs):
    expected = run(tmp_path / "whole", Trainer(), method, count, epochs)
    numbers = [trial.number for trial in expected]
    trained = []
    for at in (1, numbers[-2], None):
        trainer = Trainer(interrupted_at=at)
        with contextlib.nullcontext() if at is None else pytest.raises(KeyboardInterrupt):
            run(tmp_path / "broken", trainer, method, count, epochs)
        trained += [number for number, *_ in trainer.trained]
    assert trained == numbers
    assert Trials(tmp_path / "broken").all() == expected
    # Nothing is left to train.
    trainer = Trainer()
    assert run(tmp_path / "broken", trainer, method, count, epochs) == expected
    assert trainer.trained == []


def test_diverging_trials_fail_and_the_search_goes_on(tmp_path, capfd):
    trials = run(tmp_path, Trainer(diverges_at=(2, 3, 4)), count=5)
    failed = [trial for trial in trials if trial.status == FAILED]
    assert [trial.number for trial in failed] == [2, 3, 4]
    assert failed[0].message == "The loss must stay finite."
    assert best_trial(trials).number in (1, 5)
    assert capfd.readouterr() == ("", "")


def test_other_errors_end_the_search(tmp_path):
    class Broken(Trainer):
        def train(self, *_, **__):
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run(tmp_path, Broken())
    assert [trial.status for trial in Trials(tmp_path).all()] == ["running"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "grid"}, "`search` must be one of bayesian, hyperband, random"),
        ({"count": 1}, "`trials` must be a whole number from 2 on"),
        ({"seed": -1}, "`seed` must be a whole number from 0 on"),
        ({"epochs": 0}, "`epochs` must be a whole number from 1 on"),
        ({"method": "hyperband"}, "`trials` must be left out with hyperband"),
        ({"method": "hyperband", "count": None, "epochs": 2}, "`epochs` must be .* from 3 on"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        run(tmp_path, Trainer(), **arguments)
    assert not any(tmp_path.iterdir())
