import keras
import numpy as np
import pytest

from tests.training.tiny_drnet import tiny_drnet
from tf_adaptive.errors import InputError
from tf_adaptive.models import DRNet
from tf_adaptive.runs.directory import finish_run, start_run
from tf_adaptive.training.descent import Descent
from tf_adaptive.training.drnet_phases import (
    classifier_step,
    load_classifier_phase,
    routing_step,
    take_classifier,
)

CONFIG = {
    "preset": "tiny",
    "dataset": "grey",
    "image_shape": [16, 16, 1],
    "class_names": ["a", "b", "c"],
    "sizes": {"train": 40, "validation": 10, "test": 10},
}
DESCENT = Descent(
    schedule="multi_step",
    learning_rate=0.1,
    epochs=10,
    steps_per_epoch=7,
    nesterov=False,
    weight_decay=1e-4,
)


def rates(step, batches):
    seen = []
    for _ in range(batches):
        step(np.zeros((2, 16, 16, 1), "float32"), np.zeros(2, "int32"))
        seen.append(step.learning_rate)
    return seen


def test_rates_fall_where_the_papers_do():
    model, costs = tiny_drnet()
    # Of 10 epochs of 7 steps: after 2/7, 4/7 and 6/7, then after 3, 6 and 9 epochs.
    seen = rates(classifier_step(model, DESCENT), 70)
    expected = 20 * [0.1] + 20 * [0.01] + 20 * [0.001] + 10 * [0.0001]
    np.testing.assert_allclose(seen, expected, rtol=1e-6)
    step = routing_step(
        model,
        costs,
        DESCENT,
        target_gflops=np.mean(costs.branch_gflops),
        flops_weight=0.2,
        temperature=1.0,
        final_temperature=0.25,
        predictor_learning_rate_factor=0.1,
        dense=False,
    )
    seen = rates(step, 70)
    expected = 21 * [0.1] + 21 * [0.01] + 21 * [0.001] + 7 * [0.0001]
    np.testing.assert_allclose(seen, expected, rtol=1e-6)
    assert float(model.choice.temperature) == pytest.approx(0.25 ** (69 / 70))


def of_two_resolutions():
    whole, _ = tiny_drnet(seed=1)
    config = whole.get_config()
    predictor, classifier = (
        keras.saving.deserialize_keras_object(config[name]) for name in ("predictor", "classifier")
    )
    layer = predictor.layers[-1]
    logits = keras.layers.Dense(2)(layer.input)
    return DRNet(
        keras.Model(predictor.input, logits), classifier, (16, 8), 8, temperature=0.5, seed=1
    )


def test_classifier_is_taken_and_nothing_else():
    trained, _ = tiny_drnet()
    model = of_two_resolutions()
    predictor = model.predictor.get_weights()
    images = np.random.default_rng(0).normal(size=(3, 16, 16, 1)).astype("float32")
    take_classifier(model, trained)
    for resolution in (16, 8):
        np.testing.assert_array_equal(
            model.branch_logits(images, resolution), trained.branch_logits(images, resolution)
        )
    for before, after in zip(predictor, model.predictor.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert float(model.choice.temperature) == 0.5


@pytest.fixture(scope="module")
def other_run(tmp_path_factory):
    model, _ = tiny_drnet()
    run_dir = tmp_path_factory.mktemp("runs") / "other"
    start_run(run_dir / "stage_1", CONFIG)
    finish_run(run_dir / "stage_1", model)
    return run_dir


def test_stage_1_that_fits(other_run):
    fewer = CONFIG | {"sizes": {"train": 20, "validation": 10, "test": 10}}
    for resolutions in ((16, 12, 8), (16, 8)):
        model = load_classifier_phase(other_run, resolutions=resolutions, config=fewer)
        assert model.resolutions == (16, 12, 8)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("preset", "other"),
        ("dataset", "colour"),
        ("image_shape", [12, 12, 1]),
        ("class_names", ["a", "b"]),
        ("sizes", {"train": 41, "validation": 10, "test": 10}),
        ("sizes", {"train": 40, "validation": 9, "test": 10}),
    ],
)
def test_stage_1_of_something_else(other_run, name, value):
    with pytest.raises(InputError, match=f"`{name}` must be that of the stage 1 in {other_run}"):
        load_classifier_phase(other_run, resolutions=(16, 12, 8), config=CONFIG | {name: value})
    with pytest.raises(InputError, match="`resolutions` must be that of the stage 1"):
        load_classifier_phase(other_run, resolutions=(16, 10), config=CONFIG)


def test_no_stage_1(tmp_path):
    with pytest.raises(InputError, match="must be the directory of a run"):
        load_classifier_phase(tmp_path, resolutions=(16, 8), config=CONFIG)
