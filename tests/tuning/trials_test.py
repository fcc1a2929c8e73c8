import itertools

import numpy as np
import pytest

from tf_adaptive.errors import InputError
from tf_adaptive.tuning.trials import (
    FAILED,
    FINISHED,
    Point,
    Trial,
    Trials,
    best_trial,
    pareto_front,
)


def finished(number, objective, epochs=3):
    points = (Point("", 0.1 * number, 80.0),)
    return Trial(number, {}, epochs, status=FINISHED, points=points, objective=objective)


def test_trials_on_disk(tmp_path):
    trials = Trials(tmp_path)
    assert trials.all() == [] and trials.get(1) is None
    points = (Point("exit 1", 0.1, 70.0), Point("exit 2", 0.3, 80.0))
    first = Trial(1, {"a": 0.1, "b": "on"}, 3, status=FINISHED, points=points, objective=75.0)
    second = Trial(2, {"a": 0.25, "b": "off"}, 9, continues=1)
    for trial in (second, first):
        trials.put(trial)
    assert trials.all() == [first, second]
    assert trials.get(2) == second
    assert trials.training_directory(second) == tmp_path / "trials" / "001"
    assert trials.directory(second) == tmp_path / "trials" / "002"
    assert (first.accuracy_percent, first.mean_gflops) == (75.0, pytest.approx(0.2))


def test_checkpoints_go_and_the_rest_stays(tmp_path):
    for name in ("001/checkpoints", "002/phase_1/checkpoints"):
        (tmp_path / "trials" / name).mkdir(parents=True)
    history = tmp_path / "trials" / "002" / "phase_1" / "history.csv"
    history.write_text("epoch\n1\n")
    Trials(tmp_path).remove_checkpoints()
    assert not list(tmp_path.rglob("checkpoints"))
    assert history.exists()


def test_damaged_trial(tmp_path):
    trials = Trials(tmp_path)
    trials.put(finished(1, 80.0))
    path = tmp_path / "trials" / "001.json"
    for text in (path.read_text()[:-20], "[]", "{}"):
        path.write_text(text)
        with pytest.raises(InputError, match="must be one that the search wrote.*001.json"):
            trials.get(1)


def test_best_is_of_those_trained_longest():
    failed = Trial(4, {}, 3, status=FAILED)
    short = finished(5, 99.0, epochs=1)
    assert best_trial([finished(1, 80.0), finished(2, 82.0), failed, short]).number == 2
    assert best_trial([finished(1, 82.0), finished(2, 82.0)]).number == 1
    assert best_trial([failed]) is None


def test_front_against_brute_force():
    generator = np.random.default_rng(0)
    for _ in range(50):
        # Few values, so that equal costs, equal accuracies and equal points all occur.
        points = [Point("", *pair) for pair in generator.integers(0, 6, (12, 2)).tolist()]
        expected = [True] * len(points)
        for one, other in itertools.permutations(range(len(points)), 2):
            cheaper = points[other].mean_gflops - points[one].mean_gflops
            better = points[other].accuracy_percent - points[one].accuracy_percent
            if cheaper <= 0 <= better and (cheaper < 0 or better > 0):
                expected[one] = False
        assert pareto_front(points) == expected
        assert any(expected)
