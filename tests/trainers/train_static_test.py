import json
import shutil

import keras
import numpy as np
import pytest

from tests.conftest import STATIC_TRAINING
from tests.trainers.programs import (
    assert_same_weights,
    files,
    kill_program_at,
    refused,
    rows,
    run_program,
    without_times,
)
from tf_adaptive.layers import ReorderChannels
from tf_adaptive.reports.logits import collect_logits
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import load_finished_run

TRAIN = "trainers.train_static"


def test_run_directory(static_run):
    assert {path.name for path in static_run.iterdir()} == {
        "checkpoints",
        "config.json",
        "history.csv",
        "model.keras",
        "report",
        "tensorboard",
    }
    config = json.loads((static_run / "config.json").read_text())
    assert (config["backbone"], config["weights"], config["width"]) == (
        "resnet8_grey",
        "none",
        None,
    )
    assert (config["preprocessing"], config["nesterov"]) == ("backbone", True)
    assert config["image_shape"] == [24, 24, 1]
    first, second = rows(static_run / "history.csv")
    assert (first["epoch"], second["epoch"]) == ("1", "2")
    assert "validation_accuracy_exit_1" in second


def test_report_is_of_the_one_exit(static_run):
    assert {path.name for path in (static_run / "report").iterdir()} == {
        *("anytime.csv", "budgeted.csv", "calibration.csv", "splits.csv", "reliability.png")
    }
    (exit_row,) = rows(static_run / "report" / "anytime.csv")
    (budget_row,) = rows(static_run / "report" / "budgeted.csv")
    config, model = load_finished_run(static_run)
    logits, labels = collect_logits(model, load_run_dataset(config).batches("test", 100))
    accuracy = 100 * np.mean(logits[0].argmax(-1) == labels)
    assert float(exit_row["accuracy_percent"]) == pytest.approx(accuracy, abs=1e-4)
    assert budget_row["accuracy_percent"] == exit_row["accuracy_percent"]
    assert not any(name.startswith("threshold") for name in budget_row)


def test_evaluated_again(tmp_path, static_run):
    run_dir = shutil.copytree(static_run, tmp_path / "run")
    before = files(run_dir / "report")
    finished = run_program("trainers.evaluate", "--run_dir", run_dir)
    assert (finished.status, finished.stderr) == (0, "")
    assert "early exit" not in finished.stdout
    assert files(run_dir / "report") == before


def test_killed_run_continues_bit_for_bit(tmp_path, static_run):
    run_dir = tmp_path / "run"
    arguments = [*STATIC_TRAINING, "--run_dir", run_dir, "--checkpoint_seconds", "0.001"]
    # A checkpoint at the start and after each of eight steps: this is within the second epoch.
    kill_program_at(run_dir / "checkpoints" / "ckpt-11.index", TRAIN, *arguments)
    assert not (run_dir / "model.keras").exists()
    finished = run_program(TRAIN, *arguments, "--resume")
    assert finished.status == 0, finished.stderr
    assert "epoch 1/2" not in finished.stdout
    assert without_times(run_dir / "history.csv") == without_times(static_run / "history.csv")
    assert_same_weights(run_dir, static_run)
    assert files(run_dir / "report") == files(static_run / "report")


def test_a_run_is_the_backbone_of_another_in_bfloat16(tmp_path, static_run):
    run_dir = tmp_path / "run"
    arguments = [*STATIC_TRAINING[:2], "--backbone", static_run, *STATIC_TRAINING[6:]]
    finished = run_program(
        TRAIN,
        *arguments,
        *("--epochs", "1", "--learning_rate", "1e-3", "--precision", "bfloat16"),
        "--precision_anyway",
        *("--run_dir", run_dir),
    )
    assert finished.status == 0, finished.stderr
    # It begins where the other has come to.
    (_, before), (config, after) = map(load_finished_run, (static_run, run_dir))
    change = np.abs(after.weights[0] - before.weights[0]).max()
    assert 0 < change < 0.1 * np.abs(before.weights[0]).max()
    assert {layer.dtype_policy.name for layer in after.layers} == {"float32"}
    assert config["mean"] == json.loads((static_run / "config.json").read_text())["mean"]


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory):
    """A file of a colour classifier of 7 classes that gives probabilities."""
    keras.utils.set_random_seed(0)
    images = keras.Input((24, 24, 3))
    features = keras.layers.Conv2D(8, 5, strides=3, activation="relu", name="first")(images)
    features = keras.layers.GlobalAveragePooling2D()(features)
    path = tmp_path_factory.mktemp("files") / "classifier.keras"
    keras.Model(images, keras.layers.Dense(7, activation="softmax")(features)).save(path)
    return path


def test_a_keras_file_gets_the_data_set_s_classes(tmp_path, keras_file):
    run_dir = tmp_path / "run"
    finished = run_program(
        TRAIN,
        *("--backbone", keras_file, "--preprocessing", "caffe", *STATIC_TRAINING[:2]),
        *(*STATIC_TRAINING[6:], "--epochs", "1", "--learning_rate", "1e-4"),
        *("--run_dir", run_dir),
    )
    assert finished.status == 0, finished.stderr
    assert "The backbone's softmax is left out" in finished.stdout
    config, model = load_finished_run(run_dir)
    assert config["image_shape"] == [24, 24, 3]
    assert np.multiply(config["mean"], 255) == pytest.approx((123.68, 116.779, 103.939))
    (order,) = (layer for layer in model.layers if isinstance(layer, ReorderChannels))
    assert order.order == (2, 1, 0)
    assert model.output.shape == (None, 10)
    before = keras.saving.load_model(keras_file)
    for ours, theirs in zip(
        model.get_layer("first").get_weights(), before.get_layer("first").get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=0.05)


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("backbone", "resnet8_gray", "Did you mean 'resnet8_grey'?"),
        ("backbone", "keras_applications:MobileNetV22", "'keras_applications:MobileNetV2'?"),
        ("backbone", "runs/nowhere", "must be left out for a backbone that has its own"),
        ("backbone", "msdnet_cifar_lingrow4", "`backbone` must be one of"),
        ("weights", "imagenet", "`weights` must be none or a file for 'resnet8_grey'"),
        ("weights", "nowhere.weights.h5", "`weights` must be imagenet, none or a file"),
        ("width", "nan", "`width` must be finite and above 0. Received: width=nan"),
        ("width", "0.01", "`width` must leave each group of layers a channel. Received: width=0.0"),
        ("preprocessing", "torhc", "Did you mean 'torch'?"),
        ("precision", "bfloat", "Did you mean 'bfloat16'?"),
        ("epochs", "0", "`epochs` must be a whole number from 1 on. Received: epochs=0"),
        ("batch_size", "129", "Received: 128 training images; lower `batch_size`, which is "),
        ("learning_rate", "nan", "`learning_rate` must be finite and above 0"),
        ("seed", "-1", "`seed` must be a whole number from 0"),
    ],
)
def test_flags(tmp_path, flag, value, message):
    run_dir = ("--run_dir", tmp_path / "run")
    assert message in refused(tmp_path, TRAIN, *STATIC_TRAINING, *run_dir, f"--{flag}={value}")


def test_a_width_narrows_every_group(tmp_path):
    run_dir = tmp_path / "run"
    finished = run_program(TRAIN, *STATIC_TRAINING, "--run_dir", run_dir, "--width", "0.5")
    assert finished.status == 0, finished.stderr
    _, model = load_finished_run(run_dir)
    assert model.get_config()["widths"] == (8, 16, 32)


def test_files_and_runs_that_are_no_backbone(tmp_path, keras_file, finished_run, finished_drnet):
    def line(backbone, *others):
        arguments = (*STATIC_TRAINING[:2], *STATIC_TRAINING[6:], "--run_dir", tmp_path / "run")
        return refused(tmp_path, TRAIN, *arguments, "--backbone", backbone, *others)

    assert "A classifier must have one output, its logits. Received: 4" in line(finished_run)
    assert "must be a functional or sequential" in line(finished_drnet)
    assert "must be the directory of a run" in line(tmp_path / "nowhere")
    assert "which is no file" in line(tmp_path / "nowhere.keras")
    assert "must be left out for a network that has no widths" in line(keras_file, "--width", "0.5")
    assert "must be dataset, tf, torch, caffe or raw" in line(
        keras_file, "--preprocessing", "backbone"
    )
    assert "those of the backbone, (24, 24, 3). Received: images (32, 32, 3)" in line(
        keras_file, "--image_size", "32"
    )
    assert "`weights` must be left out" in line(keras_file, "--weights", "none")
    (tmp_path / "damaged.keras").write_bytes(keras_file.read_bytes()[:1000])
    assert "which is damaged; name another file" in line(tmp_path / "damaged.keras")


def test_weights_must_be_named(tmp_path):
    arguments = (*STATIC_TRAINING[:4], *STATIC_TRAINING[6:], "--run_dir", tmp_path / "run")
    line = refused(tmp_path, TRAIN, *arguments)
    assert "`weights` must be given for a network that is built" in line
