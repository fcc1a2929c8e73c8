import keras
import numpy as np
import pytest

from tests.bounds import ROUNDING
from tests.training.tiny_training import (
    BATCH_SIZE,
    CONFIG,
    EPOCHS,
    STEPS_PER_EPOCH,
    tiny_dataset,
    tiny_model,
)
from tf_adaptive.errors import InputError
from tf_adaptive.training import train
from tf_adaptive.training.descent import Descent
from tf_adaptive.training.multi_exit_phases import phase_1_step

# All that can be asked of a first phase at once.
EVERYTHING = {
    **{"alpha": 0.5, "temperature": 2.0, "teacher_momentum": 0.75},
    **{"leaving_share": 0.5, "last_exit_epochs": 1},
}


def step_of(model, **settings):
    descent = Descent(
        schedule="cosine", learning_rate=0.1, epochs=EPOCHS, steps_per_epoch=STEPS_PER_EPOCH
    )
    return phase_1_step(model, descent, **settings)


def batch():
    return next(iter(tiny_dataset().batches("train", 16)))


def values(model):
    return [weight.numpy() for weight in model.weights]


def built():
    keras.utils.set_random_seed(0)
    return tiny_model()


def test_the_last_exit_is_trained_first():
    model = built()
    step = step_of(model, last_exit_epochs=1)
    first, last = (layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    before = [layer.kernel.numpy() for layer in (first, last)]
    for _ in range(STEPS_PER_EPOCH):
        step(*batch())
    np.testing.assert_array_equal(first.kernel, before[0])
    assert not np.array_equal(last.kernel, before[1])
    step(*batch())
    assert not np.array_equal(first.kernel, before[0])


def test_a_running_average_of_the_network_teaches():
    model = built()
    step = step_of(model, alpha=0.5, teacher_momentum=0.75)
    average = values(model)
    for _ in range(2):
        step(*batch())
        average = [0.75 * a + 0.25 * w for a, w in zip(average, values(model), strict=True)]
    # A copy of the network may have its layers in another order.
    saved = {variable.numpy().tobytes(): variable.numpy() for variable in step.variables["teacher"]}
    for expected in average:
        same = [ours for ours in saved.values() if ours.shape == expected.shape]
        assert any(np.allclose(ours, expected, atol=ROUNDING) for ours in same)


def test_nothing_asked_for_is_the_plain_step():
    trained = []
    for settings in ({}, {"alpha": 1.0, "leaving_share": 0.0, "last_exit_epochs": 0}):
        model = built()
        step_of(model, **settings)(*batch())
        trained.append(values(model))
    for ours, theirs in zip(*trained, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_each_changes_the_training():
    plain = built()
    step_of(plain)(*batch())
    for settings in ({"alpha": 0.5}, {"leaving_share": 0.5}, {"last_exit_epochs": 1}):
        model = built()
        step_of(model, **settings)(*batch())
        pairs = zip(values(model), values(plain), strict=True)
        assert any(not np.array_equal(ours, theirs) for ours, theirs in pairs), settings


class Interruption(Exception):
    pass


def test_an_interrupted_run_continues_bit_for_bit(tmp_path):
    def trained(run_dir, batches=None, **more):
        model = built()
        step, dataset = step_of(model, **EVERYTHING), tiny_dataset()
        if batches is not None:
            whole = dataset.training_batches

            def interrupted(*arguments, epoch, **settings):
                for number, pair in enumerate(whole(*arguments, epoch=epoch, **settings)):
                    if (epoch, number) == batches:
                        raise Interruption
                    yield pair

            dataset.training_batches = interrupted
        settings = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "seed": 1, "config": CONFIG}
        train(step, dataset, run_dir=run_dir, checkpoint_steps=2, **settings, **more)
        return values(model)

    expected = trained(tmp_path / "whole")
    with pytest.raises(Interruption):
        trained(tmp_path / "run", batches=(1, 3))
    for ours, theirs in zip(trained(tmp_path / "run", resume=True), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 2.0}, "`alpha` must be in"),
        ({"leaving_share": -0.1}, "`leaving_share` must be in"),
        ({"teacher_momentum": 0.9}, "`teacher_momentum` must come with distillation"),
        ({"teacher_momentum": 1.0, "alpha": 0.5}, "`teacher_momentum` must be at least 0 and"),
        ({"last_exit_epochs": EPOCHS + 1}, "`last_exit_epochs` must be a whole number from 0"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(InputError, match=message):
        step_of(tiny_model(), **settings)
