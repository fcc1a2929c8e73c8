import json
import math
import platform

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_adaptive
from tests.training.tiny_training import tiny_model
from tf_adaptive.errors import InputError
from tf_adaptive.runs.directory import (
    check_resumed_run,
    finish_run,
    load_finished_run,
    read_config,
    start_run,
)

CONFIG = {"preset": "tiny", "image_shape": (8, 8, 1), "learning_rate": 0.1, "run_dir": "here"}


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_config_holds_settings_and_versions(tmp_path):
    run_dir = tmp_path / "runs" / "first"
    start_run(run_dir, CONFIG)
    config = json.loads((run_dir / "config.json").read_text())
    versions = config.pop("versions")
    assert config == CONFIG | {"image_shape": [8, 8, 1]}
    assert versions["python"] == platform.python_version()
    assert versions["keras"] == keras.__version__
    assert versions["tensorflow"] == tf.__version__
    assert versions["tf_adaptive"] == tf_adaptive.__version__


def test_new_run_in_an_empty_directory(tmp_path):
    start_run(str(tmp_path), CONFIG)
    assert set(contents(tmp_path)) == {"config.json"}


def test_new_run_refuses_another_run(tmp_path):
    start_run(tmp_path, CONFIG)
    before = contents(tmp_path)
    with pytest.raises(InputError, match="must be new or empty .* holds a run; resume it"):
        start_run(tmp_path, CONFIG | {"preset": "other"})
    assert contents(tmp_path) == before


def test_new_run_refuses_other_files(tmp_path):
    file = tmp_path / "letter.txt"
    file.write_text("Dear")
    for run_dir in (tmp_path, file):
        with pytest.raises(InputError, match="must be new or empty .* holds something else"):
            start_run(run_dir, CONFIG)
    with pytest.raises(InputError, match="must be a directory to write in"):
        start_run(file / "below", CONFIG)
    assert contents(tmp_path) == {"letter.txt": b"Dear"}


def test_failed_start_leaves_no_config(tmp_path, monkeypatch):
    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(InputError, match="directory to write in.*No space left"):
        start_run(tmp_path, CONFIG)
    assert contents(tmp_path) == {}


def test_resuming_with_the_same_settings(tmp_path):
    start_run(tmp_path, CONFIG)
    check_resumed_run(tmp_path, CONFIG)
    check_resumed_run(tmp_path, CONFIG | {"run_dir": "there"}, may_differ=["run_dir"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.2}, "`learning_rate` must be .*, 0.1. Received: learning_rate=0.2"),
        ({"image_shape": (8, 8, 3)}, r"`image_shape` must be .*, \[8, 8, 1\]"),
        ({"momentum": 0.9}, "`momentum` must be .*, 'nothing'. Received: momentum=0.9"),
    ],
)
def test_resuming_with_another_setting(tmp_path, change, message):
    start_run(tmp_path, CONFIG)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=message):
        check_resumed_run(tmp_path, CONFIG | change, may_differ=["run_dir"])
    assert contents(tmp_path) == before


def test_resuming_without_a_setting(tmp_path):
    start_run(tmp_path, CONFIG)
    with pytest.raises(InputError, match="`preset` must be .*, 'tiny'. Received: preset='nothing'"):
        check_resumed_run(tmp_path, {key: CONFIG[key] for key in CONFIG if key != "preset"})


def test_resuming_no_run(tmp_path):
    for run_dir in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="must be the directory of a run.*no config.json"):
            check_resumed_run(run_dir, CONFIG)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("dataset", None),
        ("dataset", 5),
        ("data_dir", 5),
        ("evaluation_split", ["test"]),
        ("model", {}),
        ("preset", 7),
        ("image_size", "24"),
        ("image_size", 24.0),
        ("train_size", 0),
        ("validation_size", True),
        ("prune_to", "0.5"),
        ("prune_to", math.nan),
        ("exit_weights", 1),
        ("exit_weights", ["a"]),
        ("exit_weights", ["nan"]),
        ("label_smoothing", None),
        ("label_smoothing", 1),
        ("sizes", [1, 2]),
        ("sizes", {"test": "5"}),
        ("versions", "3.12"),
        ("versions", {"keras": 3}),
        ("class_names", "ab"),
        ("class_names", [1, 2]),
        ("image_shape", ["8", "8", "1"]),
        ("image_shape", 8),
        ("mean", [0.5, 0.5]),
        ("mean", None),
        ("std", [0.0]),
        ("std", [math.inf]),
        ("center_crop", "no"),
    ],
)
def test_settings_that_cannot_be(tmp_path, setting, value):
    config = {**CONFIG, "mean": [0.5], "std": [0.25], "exit_weights": ["1", "2"]}
    start_run(tmp_path, config)
    assert read_config(tmp_path)["std"] == [0.25]
    (tmp_path / "config.json").write_text(json.dumps({**config, setting: value}))
    with pytest.raises(InputError, match=f"^`{setting}` in .*config.json must be ") as error:
        load_finished_run(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ['{"preset": "ti', "[1]", b"\xff\xfe"])
def test_damaged_config(tmp_path, text):
    content = text.encode() if isinstance(text, str) else text
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match="must be .*JSON.*config.json, which is not"):
        load_finished_run(tmp_path)


def finished(run_dir):
    keras.utils.set_random_seed(0)
    model = tiny_model()
    start_run(run_dir, CONFIG)
    finish_run(run_dir, model)
    return model


def test_finished_run_is_read_back(tmp_path):
    model = finished(tmp_path)
    config, loaded = load_finished_run(tmp_path)
    assert config["preset"] == "tiny"
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype("float32")
    for ours, theirs in zip(model(images), loaded(images), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert set(contents(tmp_path)) == {"config.json", "model.keras"}


def test_finished_run_is_not_resumed(tmp_path):
    finished(tmp_path)
    with pytest.raises(InputError, match="must hold an unfinished run .* is finished"):
        check_resumed_run(tmp_path, CONFIG)


def test_unfinished_run_is_not_loaded(tmp_path):
    start_run(tmp_path, CONFIG)
    with pytest.raises(InputError, match="must hold a finished run.*no model.keras yet; resume"):
        load_finished_run(tmp_path)


def test_failed_finish_leaves_the_run_unfinished(tmp_path, monkeypatch):
    start_run(tmp_path, CONFIG)
    model = tiny_model()

    def save_half(path):
        path.write_bytes(b"half a model")
        raise OSError("disk full")

    monkeypatch.setattr(model, "save", save_half)
    with pytest.raises(OSError, match="disk full"):
        finish_run(tmp_path, model)
    assert set(contents(tmp_path)) == {"config.json"}


def test_damaged_model(tmp_path):
    finished(tmp_path)
    path = tmp_path / "model.keras"
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 255
    for damaged in (b"", content[: len(content) // 2], content[:-1], bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="must be whole. Received: .*model.keras") as error:
            load_finished_run(tmp_path)
        assert "\n" not in str(error.value)
