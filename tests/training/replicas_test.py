"""A step on several replicas is that of one device, and so are the runs of a program."""

import json
import re
import subprocess
import sys

import pytest

from tests.conftest import TRAINING
from tests.trainers.programs import REPOSITORY, refused, rows, run_program
from tests.training.replicas_trial import KINDS
from tf_adaptive.runs.directory import load_finished_run

TRAIN = "trainers.train_multi_exit"


def apart(replicas, *kinds):
    """How far weights, relative to the largest change, and metrics are apart, by kind and batch."""
    command = [sys.executable, "-m", "tests.training.replicas_trial", str(replicas), *kinds]
    finished = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    lines = re.findall(r"^(.*, \d+ images): (\S+) (\S+)$", finished.stdout, re.MULTILINE)
    assert len(lines) == 2 * len(kinds or KINDS)
    return {name: (float(weights), float(metrics)) for name, weights, metrics in lines}


def assert_no_more_than_rounding(distances):
    for name, (weights, metrics) in distances.items():
        assert weights < 2e-5, name
        assert metrics < 1e-5, name


def test_a_step_on_two_replicas():
    assert_no_more_than_rounding(apart(2, "MSDNet"))


@pytest.mark.large
@pytest.mark.parametrize("replicas", [2, 4])
def test_steps_of_all_kinds(replicas):
    assert_no_more_than_rounding(apart(replicas))


def test_a_run_on_two_replicas_and_on_one(tmp_path):
    losses = []
    for strategy in ("mirrored:2", "none"):
        run_dir = tmp_path / strategy.partition(":")[0]
        finished = run_program(
            TRAIN, *TRAINING, "--epochs", "1", "--strategy", strategy, "--run_dir", run_dir
        )
        assert finished.status == 0, finished.stderr
        assert json.loads((run_dir / "config.json").read_text())["strategy"] == strategy
        assert (run_dir / "report" / "anytime.csv").exists()
        losses.append([float(row["loss"]) for row in rows(run_dir / "history.csv")])
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_a_backbone_on_two_replicas_is_saved_as_it_was_built(tmp_path):
    run_dir = tmp_path / "static"
    finished = run_program(
        "trainers.train_static",
        *("--backbone", "resnet8_grey", "--weights", "none", "--dataset", "digits"),
        *("--train_size", "64", "--validation_size", "32", "--batch_size", "16", "--epochs", "1"),
        *("--strategy", "mirrored:2", "--run_dir", run_dir),
    )
    assert finished.status == 0, finished.stderr
    _, model = load_finished_run(run_dir)
    assert not any(getattr(layer, "synchronized", False) for layer in model.layers)
    assert len(rows(run_dir / "report" / "anytime.csv")) == 1


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("mirror", "`strategy` must be one of none, mirrored, mirrored:N, N from 2 on."),
        ("mirrored:1", "N from 2 on. Received: mirrored:1."),
        ("none:2", "Received: none:2."),
        ("mirrored", "`strategy` must be mirrored:N on a machine without GPUs"),
    ],
)
def test_refuses(tmp_path, strategy, message):
    flags = (*TRAINING, "--strategy", strategy, "--run_dir", tmp_path / "run")
    assert message in refused(tmp_path, TRAIN, *flags)
