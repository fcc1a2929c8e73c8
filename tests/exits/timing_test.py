import keras
import numpy as np
import pytest

from tests.tiny_networks import tiny_msdnet
from tf_adaptive import InputError
from tf_adaptive.exits.timing import milliseconds_of, runs_to_exits


def test_runs_to_exits_are_the_network_up_to_them():
    keras.utils.set_random_seed(0)
    model = tiny_msdnet()
    images = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype("float32")
    expected = model(images)
    for number, run in enumerate(runs_to_exits(model), start=1):
        logits = run(images)
        assert len(logits) == number
        for ours, theirs in zip(logits, expected, strict=False):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_every_call_of_every_function_is_timed_in_turn():
    called = []

    def function(name):
        def run(batch):
            called.append((name, batch))
            return {"logits": keras.ops.zeros(1)}

        return run

    milliseconds = milliseconds_of([(function("a"), [1, 2, 3]), (function("b"), [7])], calls=4)
    assert milliseconds.shape == (2, 4)
    assert np.all(milliseconds > 0)
    assert called[:4] == [("a", 1), ("a", 2), ("b", 7), ("b", 7)]
    assert called[4:8] == [("a", 1), ("b", 7), ("a", 2), ("b", 7)]
    assert called[8:] == [("a", 3), ("b", 7), ("a", 1), ("b", 7)]
    with pytest.raises(InputError, match="`calls` must be a whole number from 1 on"):
        milliseconds_of([], calls=0)
