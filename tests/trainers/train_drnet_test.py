import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from tests.conftest import DRNET_TRAINING
from tests.trainers.programs import (
    assert_same_weights,
    files,
    kill_program_at,
    rows,
    run_program,
    without_times,
)
from tf_adaptive.models import DRNet
from tf_adaptive.runs.directory import load_finished_run

TRAIN = "trainers.train_drnet"
FIGURES = {
    "accuracy_against_latency.png",
    "accuracy_against_mean_macs.png",
    "images_per_resolution.png",
    "smallest_right_resolution.png",
}
RESOLUTIONS = ("24", "16", "12")


def test_run_directory(finished_drnet):
    names = {path.name for path in finished_drnet.iterdir()}
    assert names == {"config.json", "model.keras", "report", "stage_1", "stage_2"}
    first, second = (rows(finished_drnet / f"stage_{k}" / "history.csv") for k in (1, 2))
    accuracies = [f"validation_accuracy_resolution_{resolution}" for resolution in RESOLUTIONS]
    assert [row["epoch"] for row in first] == ["1"] and set(accuracies) <= first[0].keys()
    shares = [float(second[0][f"validation_share_{resolution}"]) for resolution in RESOLUTIONS]
    assert sum(shares) == pytest.approx(1)
    config, model = load_finished_run(finished_drnet)
    assert isinstance(model, DRNet)
    assert model.resolutions == (24, 16, 12)
    assert config["target_gflops"] == 0.003
    assert config["image_shape"] == [24, 24, 1]


def test_stage_2_trained_every_part(finished_drnet):
    _, first = load_finished_run(finished_drnet / "stage_1")
    _, last = load_finished_run(finished_drnet)
    for before, after in (
        (first.predictor, last.predictor),
        *zip(first.branches, last.branches, strict=True),
    ):
        changed = [
            not np.array_equal(old, new)
            for old, new in zip(before.get_weights(), after.get_weights(), strict=True)
        ]
        assert all(changed)


def test_report(finished_drnet):
    report = finished_drnet / "report"
    assert {path.name for path in report.iterdir()} == {
        "calibration.csv",
        "comparison.csv",
        "resolutions.csv",
        *FIGURES,
    }
    assert [row["resolution"] for row in rows(report / "resolutions.csv")] == list(RESOLUTIONS)
    router, *random = rows(report / "comparison.csv")
    assert [row["choice"] for row in (router, *random)] == ["router", "random", "uniform"]
    assert float(router["milliseconds_per_image"]) > 0
    for name in FIGURES:
        with Image.open(report / name) as figure:
            assert min(figure.size) > 400


def test_evaluation_writes_the_report_again(tmp_path, finished_drnet):
    run_dir = shutil.copytree(finished_drnet, tmp_path / "moved")
    shutil.rmtree(run_dir / "report")
    finished = run_program("trainers.evaluate", "--run_dir", run_dir)
    assert finished.status == 0, finished.stderr

    for name in ("comparison.csv", "resolutions.csv"):
        ours, theirs = (run / "report" / name for run in (run_dir, finished_drnet))
        assert without_times(ours) == without_times(theirs)
    router, *_ = rows(run_dir / "report" / "comparison.csv")
    assert f"{float(router['accuracy_percent']):.2f} %" in finished.stdout


def test_killed_run_continues_bit_for_bit_in_either_stage(tmp_path, finished_drnet):
    run_dir = tmp_path / "run"
    arguments = [*DRNET_TRAINING, "--run_dir", str(run_dir), "--checkpoint_seconds", "0.001"]
    for stage in (1, 2):
        # A checkpoint at the start and after each of the first three of four steps.
        wanted = run_dir / f"stage_{stage}/checkpoints/ckpt-3.index"
        kill_program_at(wanted, TRAIN, *arguments)
        assert not (run_dir / "model.keras").exists()
        assert (run_dir / "stage_1/model.keras").exists() == (stage == 2)
        arguments = [*arguments, "--resume"]
    finished = run_program(TRAIN, *arguments)
    assert finished.status == 0, finished.stderr
    assert "Stage 1" not in finished.stdout and "Stage 2" in finished.stdout
    assert_same_weights(run_dir, finished_drnet)


def test_another_runs_stage_1_is_the_same_start(tmp_path, finished_drnet):
    arguments = (*DRNET_TRAINING, "--run_dir", tmp_path / "run", "--stage_1_from", finished_drnet)
    before = files(finished_drnet)
    finished = run_program(TRAIN, *arguments)
    assert finished.status == 0, finished.stderr
    assert "Stage 1" not in finished.stdout
    assert not (tmp_path / "run" / "stage_1").exists()
    assert files(finished_drnet) == before
    assert_same_weights(tmp_path / "run", finished_drnet)


def short_training(run_dir, *arguments):
    """Trains two steps of each stage with colour images and each at its own resolution."""
    return run_program(
        TRAIN,
        *("--preset", "drnet_resnet6_grey", "--resolutions", "64,32"),
        *("--train_size", "8", "--validation_size", "4", "--target_gflops", "0.03"),
        *("--batch_size", "4", "--stage_1_epochs", "1", "--stage_2_epochs", "1"),
        *("--warmup_epochs", "0", "--image_size", "64", "--run_dir", run_dir),
        *arguments,
    )


def jpeg(seed, side):
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 10, 3), "uint8")
    return tf.io.encode_jpeg(pixels).numpy()


def test_imagenet(tmp_path):
    """Random images in the files that TFDS prepares of ImageNet."""
    data_dir = tmp_path / "data"
    folder = data_dir / "imagenet2012" / "5.1.0"
    folder.mkdir(parents=True)
    features = tfds.builder("imagenet2012", data_dir=str(data_dir)).info.features
    features.save_metadata(str(folder))
    splits = []
    for split, size in (("train", 12), ("validation", 6)):
        path = folder / f"imagenet2012-{split}.tfrecord-00000-of-00001"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for number in range(size):
                example = {
                    "image": jpeg(number, 80),
                    "label": 83 * number,
                    "file_name": f"{number}.JPEG",
                }
                encoded = features.encode_example(example)
                writer.write(features.serialize_example(encoded))
        splits.append(
            {
                "name": split,
                "shardLengths": [str(size)],
                "numBytes": "1",
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
        )
    description = {"name": "imagenet2012", "version": "5.1.0", "fileFormat": "tfrecord"}
    (folder / "dataset_info.json").write_text(json.dumps({**description, "splits": splits}))

    run_dir = tmp_path / "run"
    finished = short_training(run_dir, "--dataset", "imagenet2012", "--data_dir", data_dir)
    assert finished.status == 0, finished.stderr
    config, model = load_finished_run(run_dir)
    assert model.branches[0].output_shape == (None, 1000)
    assert config["sizes"] == {"train": 8, "validation": 4, "calibration": 0, "test": 6}
    assert config["image_shape"] == [64, 64, 3]
    assert len(rows(run_dir / "report" / "resolutions.csv")) == 2


def test_imagenet_100(tmp_path):
    """A folder of a hundred of ImageNet's classes, laid out as ImageNet is published."""
    data = tmp_path / "imagenet100"
    for number in range(100):
        for split in ("train", "val"):
            folder = data / split / f"n{number:08}"
            folder.mkdir(parents=True)
            (folder / "image.JPEG").write_bytes(jpeg(number, 70))
    shared = ("--dataset", f"folder:{data}", "--shared_batch_norm")
    finished = short_training(tmp_path / "run", *shared)
    assert finished.status == 0, finished.stderr
    config, model = load_finished_run(tmp_path / "run")
    assert model.branches[0].output_shape == (None, 100)
    assert config["sizes"]["test"] == 100
    first, second = model.branches
    assert [weight.path for weight in first.weights] == [weight.path for weight in second.weights]
    router, *_ = rows(tmp_path / "run" / "report" / "comparison.csv")
    assert 0 <= float(router["accuracy_percent"]) <= float(router["top_5_percent"]) <= 100
