"""A network with one exit that takes its pixels otherwise than its data set has them: exported,
converted, and asked about files of pictures."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from savedmodels.classifiers import load_classifier
from tests.conftest import STATIC_TRAINING
from tests.trainers.programs import rows, run_program
from tf_adaptive.exits.calibration import inverse
from tf_adaptive.reports.logits import collect_logits
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import load_finished_run
from tf_adaptive.runs.tables import read_exit_report

IMAGES = 40


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on grey images, seen in three channels as Caffe's networks do, blue before red."""
    keras.utils.set_random_seed(3)
    images = keras.Input((24, 24, 3))
    features = keras.layers.Conv2D(8, 5, strides=3, activation="relu")(images)
    features = keras.layers.BatchNormalization()(features)
    features = keras.layers.Flatten()(keras.layers.AveragePooling2D(2)(features))
    folder = tmp_path_factory.mktemp("static")
    keras.Model(images, keras.layers.Dense(10)(features)).save(folder / "network.keras")
    finished = run_program(
        "trainers.train_static",
        *("--backbone", folder / "network.keras", "--preprocessing", "caffe"),
        *(*STATIC_TRAINING[:2], *STATIC_TRAINING[6:], "--learning_rate", "0.01"),
        *("--run_dir", folder / "run"),
    )
    assert finished.status == 0, finished.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def expected(run):
    """Pictures as files, and the probabilities of the run's model on the batches of its data."""
    config, model = load_finished_run(run)
    dataset = load_run_dataset(config)
    assert dataset.image_shape == (24, 24, 3)
    ((images, labels),) = dataset.batches("test", IMAGES).take(1).as_numpy_iterator()
    logits, _ = collect_logits(model, [(images, labels)])
    pixels = np.stack(dataset.pictures("test", range(IMAGES))).astype("float32")
    np.testing.assert_allclose(images, pixels - [123.68, 116.779, 103.939], atol=1e-3)
    # What is written is what the data set has: one channel.
    files = [
        tf.io.encode_png(picture[..., :1]).numpy()
        for picture in dataset.pictures("test", range(IMAGES))
    ]
    (scale,) = inverse(read_exit_report(run, 1).temperatures)
    return files, tf.nn.softmax(logits[0] * scale).numpy()


def answers_are(classify, expected):
    files, probabilities = expected
    classes = set()
    for file, row in zip(files, probabilities, strict=True):
        answer = classify(file)
        assert (answer["class"], answer["exit"]) == (row.argmax(), 1)
        assert answer["confidence"] == pytest.approx(row.max(), abs=1e-4)
        classes.add(answer["class"])
    assert len(classes) > 3


def test_exported(run, expected, tmp_path):
    finished = run_program("savedmodels.export", "--run_dir", run, "--output", tmp_path / "served")
    assert (finished.status, finished.stderr) == (0, "")
    folder = tmp_path / "served" / "run" / "1"
    loaded = tf.saved_model.load(str(folder))
    assert set(loaded.signatures) == {"serving_default", "serving_bytes", "all_exits", "stage_1"}
    files, probabilities = expected
    answer = loaded.signatures["serving_bytes"](encoded=tf.constant(files))
    np.testing.assert_allclose(answer["probabilities"], probabilities, atol=1e-5)
    answers_are(load_classifier(tmp_path / "served"), expected)
    card = (folder / "model_card.md").read_text()
    assert (
        "One exit:" in card
        and "divided by a temperature" in card
        and "leaves at the first exit" not in card
    )


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_converted(run, expected, tmp_path, precision):
    finished = run_program(
        "savedmodels.convert_tflite",
        *("--run_dir", run, "--output", tmp_path / "tflite", "--precision", precision),
        *("--test_images", 60, "--least_agreement", 100 if precision == "float32" else 80),
    )
    assert (finished.status, finished.stderr) == (0, "")
    (row,) = rows(tmp_path / "tflite" / "agreement.csv")
    assert row["file"] == "stage_1.tflite"
    if precision == "float32":
        answers_are(load_classifier(tmp_path / "tflite"), expected)
        description = json.loads((tmp_path / "tflite" / "description.json").read_text())
        assert (description["thresholds"], description["image_shape"]) == ([], [24, 24, 3])


def test_thresholds_are_refused(run, tmp_path):
    for program in ("savedmodels.export", "savedmodels.convert_tflite"):
        finished = run_program(
            program, "--run_dir", run, "--output", tmp_path / "out", "--accuracy_drop", "1"
        )
        assert finished.status == 2
        assert "must not be given for a network with one exit" in finished.stderr
    assert list(tmp_path.iterdir()) == []
