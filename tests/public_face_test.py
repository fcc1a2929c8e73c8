"""Every example in the docstrings of what users call, run as it stands."""

import doctest
import pathlib
import shutil

import keras
import numpy as np
import pytest

import savedmodels
import tf_adaptive as ta
from tests.conftest import TRAINING
from tests.tiny_networks import TINY

# Exceptions and what is only given back have none.
_WITHOUT = {"BranchCosts", "ExitCost", "ExitPlace", "InputError", "Stage", "__version__"}
# Its file comes from elsewhere; tests/models runs it on files that are written for it.
_WITHOUT |= {"load_pytorch_weights"}
_WITH_EXAMPLES = [f"ta.{name}" for name in ta.__all__ if name not in _WITHOUT] + [
    f"savedmodels.{name}" for name in savedmodels.__all__
]
# The design's own calls.
_PUBLIC = {
    *("EarlyExit", "MSDNet", "OperatingPoint", "Routing", "attach_exits", "choose_exits"),
    *("confidence_scores", "costs", "evaluate", "exit_fractions", "fold_batch_norm"),
    *("load_dataset", "load_pytorch_weights", "load_run", "profile", "split_stages"),
    *("thresholds_for_budget", "train", "with_boosting", "with_collaboration"),
    *("with_gradient_equilibrium", "with_quantization"),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def namespace():
    keras.utils.set_random_seed(0)
    data = ta.load_dataset("digits", train_size=128, validation_size=64)
    model = ta.MSDNet.from_preset(TINY, input_shape=data.image_shape, num_classes=data.num_classes)
    drnet = ta.DRNet.from_preset(
        "drnet_resnet6_grey", resolutions=(24, 16, 12), channels=1, num_classes=10
    )
    images, _ = next(iter(data.batches("test", 8)))
    return {
        **{"ta": ta, "savedmodels": savedmodels, "np": np, "keras": keras},
        **{"data": data, "model": model, "drnet": drnet, "images": images},
        "uint8_images": np.zeros((2, 30, 30, 1), "uint8"),
    }


def test_all_of_the_design_is_there():
    assert set(ta.__all__) >= _PUBLIC


@pytest.mark.parametrize("name", _WITH_EXAMPLES)
def test_the_examples_run(name, namespace, here, finished_run, release):
    package, _, attribute = name.partition(".")
    called = getattr(namespace[package], attribute)
    if attribute == "load_run":
        shutil.copytree(finished_run, pathlib.Path("runs/mine"))
    if attribute == "load_weights":
        shutil.copytree(release, pathlib.Path("release"))
    finder = doctest.DocTestFinder(recurse=False)
    examples = [
        example for example in finder.find(called, name, globs=dict(namespace)) if example.examples
    ]
    assert examples, f"{name} has no example"
    # Tests' warnings are errors; what an example warns of is shown to users too.
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    for example in examples:
        told = []
        runner.run(example, out=told.append)
        assert not runner.failures, "".join(told)


def test_a_run_of_one_call_is_taken_by_the_programs(namespace, here):
    data = namespace["data"]
    settings = dict(zip(TRAINING[::2], TRAINING[1::2], strict=True))
    keras.utils.set_random_seed(0)
    model = ta.MSDNet.from_preset(
        settings["--preset"], input_shape=data.image_shape, num_classes=data.num_classes
    )
    arguments = {"epochs": 1, "batch_size": 32, "learning_rate": 0.05, "run_dir": "run"}
    (row,) = ta.train(model, data, **arguments)
    assert row["epoch"] == 1 and 0 < row["loss"] < 20
    run = ta.load_run("run")
    assert run.config["dataset"] == "digits" and run.config["learning_rate"] == 0.05
    for ours, theirs in zip(run.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    pictures = np.stack(data.pictures("test", range(5)))
    answer = run.executor([0.5, 0.5, 0.5])(run.preprocess(pictures))
    expected = ta.EarlyExit(model, [0.5, 0.5, 0.5])(next(iter(data.batches("test", 5)))[0])
    np.testing.assert_array_equal(answer["exit"], expected["exit"])
    assert pathlib.Path("run/report/anytime.csv").exists()
    with pytest.raises(ta.InputError, match="`run_dir` must be new or empty"):
        ta.train(model, data, **arguments)


def test_training_without_a_directory_writes_nothing_and_does_the_same(namespace, here):
    data = namespace["data"]

    def trained(**more):
        keras.utils.set_random_seed(0)
        model = ta.MSDNet.from_preset(TINY, input_shape=data.image_shape, num_classes=10)
        ta.train(model, data, epochs=1, batch_size=64, **more)
        return model.get_weights()

    without = trained()
    assert not list(here.iterdir())
    for ours, theirs in zip(without, trained(run_dir="run"), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_drnet_is_trained_in_its_phases(namespace, here):
    data = namespace["data"]
    drnet = ta.DRNet.from_preset(
        "drnet_resnet6_grey", resolutions=(24, 16, 12), channels=1, num_classes=10, seed=0
    )
    with pytest.raises(ta.InputError, match="`target_gflops` must be given for a DRNet, from"):
        ta.train(drnet, data, epochs=1)
    for call in (drnet.fit, drnet.train_on_batch):
        with pytest.raises(ta.InputError, match="must be trained by tf_adaptive.train"):
            call(namespace["images"])
    rows = ta.train(drnet, data, epochs=1, target_gflops=0.003, run_dir="drnet")
    assert "validation_accuracy_resolution_24" in rows[0]
    assert "validation_mean_gflops" in rows[1]
    run = ta.load_run("drnet")
    routed = run.executor()
    answer = routed.predict(data.batches("test", 64))
    assert set(answer["resolution"]) <= {24, 16, 12}
    point = run.operating_point()
    costs = ta.costs(run.model)
    mean_macs = np.dot(point.shares, costs.branch_macs) + costs.predictor_macs
    # The table's shares have six digits.
    assert point.mean_macs == pytest.approx(mean_macs, rel=1e-6)
    # What is exported answers as what is called.
    name, version = savedmodels.export_model(routed, data.description(), "served")
    assert (name, version) == ("model", 1)
    with pytest.raises(ta.InputError, match="`target_gflops` must be left out"):
        ta.train(namespace["model"], data, epochs=1, target_gflops=0.003)
