import json

import keras
import numpy as np
import pytest

from savedmodels.tflite.exit_runner import StagedRunner
from tests.conftest import BUILT_EXITS_TRAINING as BUILT
from tests.conftest import EXITS_TRAINING as DATA
from tests.exits.backbones import residual_classifier
from tests.trainers.programs import (
    assert_same_weights,
    kill_program_at,
    refused,
    rows,
    run_program,
    without_times,
)
from tf_adaptive.reports.logits import collect_logits
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import load_finished_run

TRAIN = "trainers.train_exits"


@pytest.fixture(scope="module")
def frozen_run(made_once, static_run):
    def train(folder):
        arguments = (*DATA, "--backbone", static_run, "--run_dir", folder / "frozen")
        finished = run_program(TRAIN, *arguments)
        assert (finished.status, finished.stderr) == (0, "")

    return made_once("frozen_exits", train) / "frozen"


@pytest.fixture(scope="module")
def two_phase_run(made_once):
    def train(folder):
        arguments = (*BUILT, "--mode", "backbone_then_joint", "--run_dir", folder / "two_phases")
        finished = run_program(TRAIN, *arguments)
        assert (finished.status, finished.stderr) == (0, "")

    return made_once("two_phase_exits", train) / "two_phases"


def test_frozen_backbone_answers_as_before_to_the_bit(frozen_run, static_run):
    config, model = load_finished_run(frozen_run)
    _, backbone = load_finished_run(static_run)
    images, _ = next(iter(load_run_dataset(config).batches("test", 32)))
    np.testing.assert_array_equal(model(images)[-1], backbone(images))
    own = {weight.path: weight.numpy() for weight in model.weights}
    for weight in backbone.weights:
        np.testing.assert_array_equal(own[weight.path], weight.numpy())


def test_exits_of_a_frozen_backbone_learn(frozen_run):
    config, model = load_finished_run(frozen_run)
    assert (config["mode"], config["exits"], config["alpha"]) == ("frozen", "3", 0.5)
    history = rows(frozen_run / "history.csv")
    assert float(history[1]["loss"]) < float(history[0]["loss"])
    logits, labels = collect_logits(model, load_run_dataset(config).batches("test", 100))
    table = rows(frozen_run / "report" / "anytime.csv")
    for row, exit_logits in zip(table, logits, strict=True):
        accuracy = 100 * np.mean(exit_logits.argmax(-1) == labels)
        assert float(row["accuracy_percent"]) == pytest.approx(accuracy, abs=1e-4)
    # Ten classes: a tenth would be chance.
    assert float(table[1]["accuracy_percent"]) > 20


def test_killed_frozen_run_continues_bit_for_bit(tmp_path, frozen_run, static_run):
    run_dir = tmp_path / "run"
    arguments = [*DATA, "--backbone", static_run, "--run_dir", run_dir]
    arguments += ["--checkpoint_seconds", "0.001"]
    # A checkpoint at the start and after each of eight steps: this is within the second epoch.
    kill_program_at(run_dir / "checkpoints" / "ckpt-11.index", TRAIN, *arguments)
    finished = run_program(TRAIN, *arguments, "--resume")
    assert (finished.status, finished.stderr) == (0, "")
    assert without_times(run_dir / "history.csv") == without_times(frozen_run / "history.csv")
    assert_same_weights(run_dir, frozen_run)


def test_labels_do_not_matter_where_exits_learn_from_the_last_one(tmp_path, static_run):
    finished = run_program(
        TRAIN, *DATA, "--backbone", static_run, "--alpha", "0", "--run_dir", tmp_path / "run"
    )
    assert (finished.status, finished.stderr) == (0, "")
    config, model = load_finished_run(tmp_path / "run")
    logits, _ = collect_logits(model, load_run_dataset(config).batches("test", 100))
    first, _, last = logits.argmax(-1)
    # Ten classes: exits that had learnt nothing would agree with it on a tenth.
    assert np.mean(first == last) > 0.2


def test_joint_training_moves_the_backbone_too(tmp_path):
    finished = run_program(TRAIN, *BUILT, "--mode", "joint", "--run_dir", tmp_path / "run")
    assert (finished.status, finished.stderr) == (0, "")
    history = rows(tmp_path / "run" / "history.csv")
    assert float(history[1]["loss"]) < float(history[0]["loss"])
    table = rows(tmp_path / "run" / "report" / "anytime.csv")
    assert [row["exit"] for row in table] == ["1", "2", "3"]
    macs = [int(row["macs"]) for row in table]
    assert macs == sorted(macs)


def test_two_phases(two_phase_run):
    names = {path.name for path in two_phase_run.iterdir()}
    assert names == {"backbone", "config.json", "joint", "model.keras", "report"}
    (first, *_), (second, *_) = (
        rows(two_phase_run / phase / "history.csv") for phase in ("backbone", "joint")
    )
    assert "validation_accuracy_exit_2" not in first
    assert "validation_accuracy_exit_3" in second
    # The joint phase goes on from where the backbone is.
    assert float(second["train_accuracy_exit_3"]) > float(first["train_accuracy_exit_1"])


@pytest.mark.parametrize("phase", ["backbone", "joint"])
def test_killed_run_of_two_phases_continues_bit_for_bit(tmp_path, two_phase_run, phase):
    run_dir = tmp_path / "run"
    arguments = [*BUILT, "--mode", "backbone_then_joint", "--run_dir", run_dir]
    arguments += ["--checkpoint_seconds", "0.001"]
    kill_program_at(run_dir / phase / "checkpoints" / "ckpt-11.index", TRAIN, *arguments)
    finished = run_program(TRAIN, *arguments, "--resume")
    assert (finished.status, finished.stderr) == (0, "")
    assert_same_weights(run_dir, two_phase_run)


def test_training_in_bfloat16_is_measured_in_float32(tmp_path):
    run_dir = tmp_path / "run"
    finished = run_program(
        TRAIN,
        *(*BUILT, "--mode", "joint", "--precision", "bfloat16", "--precision_anyway"),
        *("--run_dir", run_dir),
    )
    assert (finished.status, finished.stderr) == (0, "")
    _, model = load_finished_run(run_dir)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_everything_after_it_works_unchanged(tmp_path, frozen_run):
    served, tflite = tmp_path / "served", tmp_path / "tflite"
    finished = run_program("savedmodels.export", "--run_dir", frozen_run, "--output", served)
    assert (finished.status, finished.stderr) == (0, "")
    finished = run_program(
        "savedmodels.convert_tflite", "--run_dir", frozen_run, "--output", tflite
    )
    assert (finished.status, finished.stderr) == (0, "")
    config, model = load_finished_run(frozen_run)
    dataset = load_run_dataset(config)
    (picture,) = dataset.pictures("test", [0])
    images, _ = next(iter(dataset.batches("test", 1)))
    expected = np.stack([logits.numpy()[0] for logits in model(images)])
    received = StagedRunner(tflite).all_exits(picture)
    np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-3 * np.ptp(expected))
    pictures = tmp_path / "pictures"
    run_program("trainers.write_pictures", "--run_dir", frozen_run, "--output", pictures)
    answers = [
        run_program("savedmodels.predict", "--model_dir", folder, "--json", pictures).stdout
        for folder in (served, tflite)
    ]
    ours, theirs = ([json.loads(line) for line in text.splitlines()] for text in answers)
    assert [answer["class"] for answer in ours] == [answer["class"] for answer in theirs]


def saved(tmp_path, model):
    path = tmp_path / "backbone.keras"
    model.save(path)
    return path


def with_code(tmp_path):
    images = keras.Input((24, 24, 1))
    x = keras.layers.Conv2D(4, 3)(images)
    x = keras.layers.Lambda(lambda tensor: 2 * tensor, name="doubled")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return saved(tmp_path, keras.Model(images, keras.layers.Dense(10)(x)))


def no_logits(tmp_path):
    model = residual_classifier(classes=10, side=24)
    return saved(tmp_path, keras.Model(model.input, keras.layers.ReLU(name="cut")(model.output)))


def without_places(tmp_path):
    images = keras.Input((24, 24, 1))
    x = keras.layers.Dense(8, activation="relu")(keras.layers.Flatten()(images))
    return saved(tmp_path, keras.Model(images, keras.layers.Dense(10)(x)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mode", "joined"), "Did you mean 'joint'?"),
        (("--head", "linar"), "Did you mean 'linear'?"),
        (("--exits", "1"), "`exits` must be a whole number from 2"),
        (("--exits", "40"), "There must be at most"),
        (("--exits", "group_1_blok_1"), "Did you mean 'group_1_block_1'?"),
        (("--mode", "frozen"), "where the backbone is frozen"),
        (("--mode", "frozen", "--alpha", "2"), "`alpha` must be in [0, 1]"),
        (("--backbone", "resnet8_gray"), "Did you mean 'resnet8_grey'?"),
        (("--exit_weights", "1,2"), "`exit_weights` must be 3 numbers"),
        (("--batch_norm_momentum", "1"), "`batch_norm_momentum` must be at least 0 and below 1"),
    ],
)
def test_refuses_in_one_line(tmp_path, arguments, message):
    given = [*BUILT, "--mode", "joint", *arguments, "--run_dir", tmp_path / "run"]
    assert message in refused(tmp_path, TRAIN, *given)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (with_code, "'doubled' is a Python function"),
        (no_logits, "must end in a linear layer"),
        (without_places, "must have a place for an exit"),
    ],
)
def test_refuses_a_file_in_one_line(tmp_path, file, message):
    given = [*DATA, "--backbone", file(tmp_path), "--mode", "joint", "--run_dir", tmp_path / "run"]
    assert message in refused(tmp_path, TRAIN, *given)


def test_a_frozen_backbone_that_knows_nothing_is_refused(tmp_path, static_run):
    _, model = load_finished_run(static_run)
    layer = model.layers[-1]
    layer.set_weights([np.zeros_like(weights) for weights in layer.get_weights()])
    path = saved(tmp_path, model)
    given = [*DATA, "--backbone", path, "--preprocessing", "dataset", "--run_dir", tmp_path / "run"]
    assert "must tell the data set's classes apart" in refused(tmp_path, TRAIN, *given)


def test_a_used_directory_is_refused_before_anything_is_computed(frozen_run, static_run):
    given = [*DATA, "--backbone", static_run, "--run_dir", frozen_run]
    assert "holds a run; resume it" in refused(frozen_run, TRAIN, *given)
