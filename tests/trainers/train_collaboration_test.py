import json
import shutil

import keras
import numpy as np
import pytest

from tests.tiny_networks import TINY
from tests.trainers.programs import refused, rows, run_program
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import load_finished_run

PROGRAM = "trainers.train_collaboration"
SHORT = ("--epochs", "2", "--batch_size", "16")


@pytest.fixture(scope="module")
def collaborating_run(finished_run, made_once):
    def train(folder):
        directories = ("--run_dir", finished_run, "--output_dir", folder / "collaborating")
        finished = run_program(PROGRAM, *directories, *SHORT, "--alpha", "0.1")
        assert finished.status == 0, finished.stderr

    return made_once("collaborating_runs", train) / "collaborating"


def test_only_the_exits_have_changed(finished_run, collaborating_run):
    _, phase_one = load_finished_run(finished_run)
    config, model = load_finished_run(collaborating_run)
    assert config["preset"] == TINY
    assert (config["alpha"], config["temperature"]) == (0.1, 3.0)
    assert config["augmented_passes"] is None
    assert 0 < config["learning_rate"] <= 0.1
    frozen = {weight.path: weight.numpy() for weight in phase_one.weights}
    trained = {weight.path: weight.numpy() for weight in model.weights}
    shared = frozen.keys() & trained.keys()
    # All but the exits' kernels and biases, batch normalisation's statistics among them.
    assert len(shared) == len(frozen) - 2 * 4
    assert any("moving_variance" in path for path in shared)
    for path in shared:
        np.testing.assert_array_equal(trained[path], frozen[path])
    assert not np.array_equal(trained["collaborating_exit_1/kernel"], frozen["exit_1/kernel"])


def test_the_run_is_one_that_evaluation_takes(collaborating_run, tmp_path):
    run_dir = shutil.copytree(collaborating_run, tmp_path / "run")
    before = rows(run_dir / "report" / "anytime.csv")
    assert len(before) == 4
    finished = run_program("trainers.evaluate", "--run_dir", run_dir)
    assert finished.status == 0, finished.stderr
    assert rows(run_dir / "report" / "anytime.csv") == before


def test_without_either_technique_the_runs_own_exits_are_trained_on(finished_run, tmp_path):
    directories = ("--run_dir", finished_run, "--output_dir", tmp_path / "run")
    control = ("--nocollaboration", "--nodistillation", "--augmented_passes", "1")
    finished = run_program(PROGRAM, *directories, *SHORT, *control)
    assert finished.status == 0, finished.stderr
    _, phase_one = load_finished_run(finished_run)
    _, model = load_finished_run(tmp_path / "run")
    before = {weight.path: weight.numpy() for weight in phase_one.weights}
    after = {weight.path.removeprefix("own_"): weight.numpy() for weight in model.weights}
    assert before.keys() == after.keys()
    changed = [path for path in before if not np.array_equal(before[path], after[path])]
    assert sorted(changed) == sorted(
        f"exit_{number}/{weight}" for number in range(1, 5) for weight in ("kernel", "bias")
    )


@pytest.mark.parametrize(("good", "alpha"), [(1, 1.0), (4, 0.1)])
def test_a_teacher_that_is_not_the_best_exit_does_not_teach(finished_run, tmp_path, good, alpha):
    copy_with_one_good_exit(finished_run, tmp_path / "run", good)
    directories = ("--run_dir", tmp_path / "run", "--output_dir", tmp_path / "collaborating")
    finished = run_program(PROGRAM, *directories, *SHORT)
    assert finished.status == 0, finished.stderr
    config = json.loads((tmp_path / "collaborating" / "config.json").read_text())
    assert config["alpha"] == alpha
    assert ("The run's last exit, the teacher, is right for" in finished.stdout) == (alpha == 1)


def test_exits_that_phase_two_makes_worse_are_named(finished_run, tmp_path):
    copy_with_one_good_exit(finished_run, tmp_path / "run", 1)
    directories = ("--run_dir", tmp_path / "run", "--output_dir", tmp_path / "collaborating")
    finished = run_program(PROGRAM, *directories, *SHORT, "--alpha", "0")
    assert finished.status == 0, finished.stderr
    assert "it teaches its mistakes too: --alpha 1" in finished.stdout
    assert "warning: phase II made exits worse on the 64 validation images: exit 1 from" in (
        finished.stderr
    )


def copy_with_one_good_exit(run, copy, good):
    """A copy of a run: one exit as good as its features allow, the others always say 8."""
    shutil.copytree(run, copy)
    config, model = load_finished_run(run)
    for number in range(1, 5):
        exit = model.get_layer(f"exit_{number}")
        exit.set_weights([np.zeros_like(exit.kernel), 10 * np.eye(10)[8]])
    exit = model.get_layer(f"exit_{good}")
    backbone = keras.Model(model.input, exit.input)
    batches = load_run_dataset(config).batches("train", 64)
    features, labels = zip(*((backbone(images), labels) for images, labels in batches), strict=True)
    features, targets = np.concatenate(features), np.eye(10)[np.concatenate(labels)]
    features = np.c_[features, np.ones(len(features))]
    solution = np.linalg.lstsq(features, targets, rcond=1e-3)[0]
    exit.set_weights([solution[:-1], solution[-1]])
    model.save(copy / "model.keras")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--alpha=1.5", "`alpha` must be in [0, 1]. Received: alpha=1.5"),
        ("--temperature=0", "`temperature` must be finite and above 0"),
        ("--augmented_passes=-1", "`augmented_passes` must be a whole number from 0 on"),
        ("--epochs=0", "`epochs` must be a whole number from 1 on"),
        ("--run_dir=nowhere", "`run_dir` must be the directory of a run. Received: nowhere"),
    ],
)
def test_bad_flags(finished_run, tmp_path, flag, message):
    assert message in refused_by(tmp_path, finished_run, flag)


def test_a_run_that_never_finished(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "copy")
    (tmp_path / "copy" / "model.keras").unlink()
    line = refused_by(tmp_path, tmp_path / "copy")
    assert "has no model.keras yet; resume its training first" in line


def test_a_run_whose_preset_is_not_its_weights(finished_run, collaborating_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "copy")
    path = tmp_path / "copy" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"preset": "msdnet_cifar_lingrow5"}))
    line = refused_by(tmp_path, tmp_path / "copy")
    assert "must be the 'msdnet_cifar_lingrow5' of its config.json" in line
    line = refused_by(tmp_path, collaborating_run)
    assert f"must be the '{TINY}' of its config.json" in line


def test_a_network_of_one_exit(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "copy")
    _, model = load_finished_run(finished_run)
    keras.Model(model.input, model.outputs[:1]).save(tmp_path / "copy" / "model.keras")
    refused_by(tmp_path, tmp_path / "copy")


def refused_by(directory, run_dir, *more):
    output_dir = ("--output_dir", directory / "output")
    return refused(directory, PROGRAM, "--run_dir", run_dir, *output_dir, *more)


def test_a_used_output_dir_is_refused_before_the_run_is_read(tmp_path, collaborating_run):
    directories = ("--run_dir", tmp_path / "nowhere", "--output_dir", collaborating_run)
    line = refused(collaborating_run, PROGRAM, *directories)
    assert "`output_dir` must be new or empty for a new run. Received: " in line
    line = refused(collaborating_run, PROGRAM, *directories, "--resume")
    assert "`output_dir` must hold an unfinished run to resume" in line
    assert "which is finished" in line
