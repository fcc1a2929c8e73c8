import math

import keras
import pytest

from tf_adaptive.errors import InputError
from tf_adaptive.training.schedules import learning_rate_schedule, temperature_schedule


def rates(name, steps, **arguments):
    schedule = learning_rate_schedule(
        name, **{"learning_rate": 0.1, "epochs": 300, "steps_per_epoch": 10} | arguments
    )
    return [float(schedule(step)) for step in steps]


def test_multi_step_drops_as_published():
    steps = [0, 1499, 1500, 2249, 2250, 2999]
    assert rates("multi_step", steps) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_multi_step_at_given_epochs():
    steps = [299, 300, 599, 600, 899]
    assert rates("multi_step", steps, epochs=90, drop_epochs=[30, 60]) == pytest.approx(
        [0.1, 0.01, 0.01, 0.001, 0.001]
    )


def test_multi_step_of_a_single_step():
    assert rates("multi_step", [0], epochs=1, steps_per_epoch=1) == pytest.approx([0.1])


def test_cosine_falls_to_zero():
    expected = [0.05 * (1 + math.cos(math.pi * step / 3000)) for step in (0, 700, 1500, 2999)]
    # float32 leaves the last few rates an absolute error of about 1e-8.
    assert rates("cosine", [0, 700, 1500, 2999]) == pytest.approx(expected, rel=1e-5, abs=1e-8)
    assert rates("cosine", [3000]) == pytest.approx([0.0], abs=1e-8)


@pytest.mark.parametrize("name", ["multi_step", "cosine"])
def test_warm_up_rises_linearly(name):
    assert rates(name, [0, 5, 10, 20], warmup_epochs=2) == pytest.approx([0, 0.025, 0.05, 0.1])


def test_after_warm_up_the_schedule_goes_on():
    assert rates("multi_step", [100, 1500], warmup_epochs=2) == pytest.approx([0.1, 0.01])
    middle = 20 + (3000 - 20) // 2
    assert rates("cosine", [middle], warmup_epochs=2) == pytest.approx([0.05])


def test_warm_up_survives_serialization():
    schedule = learning_rate_schedule(
        "multi_step", learning_rate=0.1, epochs=4, steps_per_epoch=10, warmup_epochs=1.5
    )
    config = keras.optimizers.SGD(schedule).get_config()
    copy = keras.optimizers.SGD.from_config(config)
    for step in (0, 7, 15, 20, 39):
        copy.iterations.assign(step)
        assert float(copy.learning_rate) == float(schedule(step))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "cosin"}, "`schedule` must be one of .*Did you mean 'cosine'"),
        ({"learning_rate": -0.1}, "`learning_rate` must be finite and above 0"),
        ({"learning_rate": 0.0}, "`learning_rate` must be finite and above 0"),
        ({"learning_rate": math.nan}, "`learning_rate` must be finite and above 0"),
        ({"epochs": 0}, "`epochs` must be a whole number from 1"),
        ({"steps_per_epoch": 0}, "`steps_per_epoch` must be a whole number from 1"),
        ({"warmup_epochs": -1}, "`warmup_epochs` must be at least 0 and below `epochs`, 4"),
        ({"warmup_epochs": 4}, "`warmup_epochs` must be at least 0 and below `epochs`, 4"),
        ({"drop_epochs": [3, 2]}, "`drop_epochs` must rise and lie between 0 and `epochs`, 4"),
        ({"drop_epochs": [0, 2]}, "`drop_epochs` must rise"),
        ({"drop_epochs": [2, 4]}, "`drop_epochs` must rise"),
        ({"drop_epochs": [math.nan]}, "`drop_epochs` must rise"),
        ({"drop_epochs": [1, math.inf]}, "`drop_epochs` must rise"),
        ({"name": "cosine", "drop_epochs": [2]}, "`drop_epochs` must be left out"),
    ],
)
def test_bad_arguments(arguments, message):
    arguments = {"name": "multi_step", "learning_rate": 0.1, "epochs": 4} | arguments
    with pytest.raises(InputError, match=message):
        learning_rate_schedule(arguments.pop("name"), **{"steps_per_epoch": 10} | arguments)


def test_temperature_falls_by_the_same_factor_at_every_step():
    schedule = temperature_schedule(5.0, 0.5, steps=4)
    expected = [5.0 * 0.1 ** (step / 4) for step in range(5)]
    assert [float(schedule(step)) for step in range(5)] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0), "`temperature` must be finite and above 0"),
        ((1.0, math.nan), "`final_temperature` must be finite and above 0"),
    ],
)
def test_temperatures_out_of_range(arguments, message):
    with pytest.raises(InputError, match=message):
        temperature_schedule(*arguments, steps=4)
    with pytest.raises(InputError, match="`steps` must be a whole number from 1 on"):
        temperature_schedule(1.0, 0.5, steps=0)
