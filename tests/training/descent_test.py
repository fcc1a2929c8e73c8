import dataclasses

import pytest

from tf_adaptive.errors import InputError
from tf_adaptive.training.descent import Descent

DESCENT = Descent(schedule="multi_step", learning_rate=0.2, epochs=10, steps_per_epoch=7)


def rates(descent, steps, factor=1.0):
    schedule = descent.learning_rate_schedule(factor)
    return [float(schedule(step)) for step in steps]


def test_rates_are_those_of_the_schedule_times_the_factor():
    assert DESCENT.steps == 70
    assert rates(DESCENT, (0, 34, 35)) == pytest.approx([0.2, 0.2, 0.02])
    assert rates(DESCENT, (0, 34, 35), 0.1) == pytest.approx([0.02, 0.02, 0.002])


def test_shares_of_the_epochs_are_for_what_has_no_drop_epochs():
    dropping = DESCENT.with_drop_shares((0.3, 0.6))
    assert rates(dropping, (20, 21, 41, 42)) == pytest.approx([0.2, 0.02, 0.02, 0.002])
    assert dropping.with_drop_shares((0.5,)) == dropping
    cosine = dataclasses.replace(DESCENT, schedule="cosine")
    assert cosine.with_drop_shares((0.3, 0.6)) == cosine


def test_optimizer_has_its_settings():
    optimizer = dataclasses.replace(DESCENT, momentum=0.5, nesterov=False).optimizer(0.1)
    assert (optimizer.momentum, optimizer.nesterov) == (0.5, False)
    assert float(optimizer.learning_rate) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("name", "value"),
    [("schedule", "cosin"), ("epochs", 0), ("learning_rate", 0), ("momentum", 1)],
)
def test_is_refused_where_it_is_used(name, value):
    descent = dataclasses.replace(DESCENT, **{name: value})
    with pytest.raises(InputError, match=f"`{name}` must be"):
        descent.optimizer()
