"""A step on several replicas is that of one device, and so are the runs of a program."""

import json
import re
import subprocess
import sys

import pytest

from tests.conftest import (
    DRNET_SEARCH,
    DRNET_TRAINING,
    MULTI_EXIT_SEARCH,
    SECOND_RUNS,
    TRAINING,
    TWO_PHASES,
)
from tests.trainers.programs import REPOSITORY, kill_program_at, refused, rows, run_program
from tests.training.replicas_trial import KINDS
from tf_adaptive.runs.directory import load_finished_run

TRAIN = "trainers.train_multi_exit"


def apart(replicas, *kinds):
    """How far weights, relative to the largest change, and metrics are apart, by kind of step."""
    command = [sys.executable, "-m", "tests.training.replicas_trial", str(replicas), *kinds]
    finished = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    lines = re.findall(r"^(.*): (\S+) (\S+)$", finished.stdout, re.MULTILINE)
    assert len(lines) == len(kinds or KINDS)
    return {name: (float(weights), float(metrics)) for name, weights, metrics in lines}


def assert_no_more_than_rounding(distances):
    for name, (weights, metrics) in distances.items():
        # Arithmetic in half precision rounds at 1e-3.
        times = 2000 if name == "float16" else 1
        assert weights < times * 2e-5, name
        assert metrics < times * 1e-5, name


def test_a_step_on_two_replicas():
    assert_no_more_than_rounding(apart(2, "MSDNet", "DRNet's routing"))


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


@pytest.mark.large
@pytest.mark.parametrize(
    ("program", "flags"),
    [
        *TWO_PHASES,
        ("trainers.tune", MULTI_EXIT_SEARCH),
        ("trainers.tune", (*DRNET_SEARCH, "--dense")),
    ],
)
def test_programs_on_two_replicas(tmp_path, program, flags):
    two = ("--strategy", "mirrored:2", "--run_dir", tmp_path / "run")
    finished = run_program(program, *flags, *two)
    assert finished.status == 0, finished.stderr
    wanted = "trials.csv" if program == "trainers.tune" else "report/*.csv"
    assert any((tmp_path / "run").glob(wanted))


@pytest.mark.large
@pytest.mark.parametrize("program", SECOND_RUNS)
def test_second_runs_on_two_replicas(tmp_path, finished_run, program):
    flags = ("--epochs", "1", "--batch_size", "32", "--run_dir", finished_run)
    two = ("--strategy", "mirrored:2", "--output_dir", tmp_path / "run")
    finished = run_program(program, *flags, *two)
    assert finished.status == 0, finished.stderr
    assert (tmp_path / "run" / "report" / "anytime.csv").exists()


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
        ("mirror", "`strategy` must be one of none, mirrored, mirrored:N, multi_worker, tpu"),
        ("mirrored:1", "N from 2 on. Received: mirrored:1."),
        ("none:2", "Received: none:2."),
        ("mirrored", "`strategy` must be mirrored:N on a machine without GPUs"),
        ("mirrored:3", "`batch_size` must be a multiple of the 3 replicas, such as 15 or 18."),
        ("tpu", "`strategy` must be tpu where there is a TPU"),
    ],
)
def test_refuses(tmp_path, strategy, message):
    flags = (*TRAINING, "--strategy", strategy, "--run_dir", tmp_path / "run")
    assert message in refused(tmp_path, TRAIN, *flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--jit_compile",), "`jit_compile` must be left out with several replicas."),
        (("--leaving_share", "0.5"), "`leaving_share` must be 0 on several replicas"),
        (("--train_size", "129"), "lower `train_size` by 1, or choose another `batch_size`."),
    ],
)
def test_refuses_on_replicas(tmp_path, flags, message):
    flags = (*TRAINING, *flags, "--strategy", "mirrored:2", "--run_dir", tmp_path / "run")
    assert message in refused(tmp_path, TRAIN, *flags)


def test_a_drnet_must_be_dense(tmp_path):
    flags = (
        *DRNET_TRAINING,
        "--nodense",
        "--strategy",
        "mirrored:2",
        "--run_dir",
        tmp_path / "run",
    )
    assert "`dense` must be set on several replicas" in refused(
        tmp_path, "trainers.train_drnet", *flags
    )


def test_a_search_is_one_process(tmp_path):
    flags = (*MULTI_EXIT_SEARCH, "--strategy", "multi_worker", "--run_dir", tmp_path / "run")
    assert "one of a single process" in refused(tmp_path, "trainers.tune", *flags)


def test_goes_on_with_other_devices(tmp_path):
    run_dir = tmp_path / "run"
    flags = (*TRAINING, "--run_dir", run_dir)
    kill_program_at(run_dir / "checkpoints" / "ckpt-2.index", TRAIN, *flags)
    finished = run_program(TRAIN, *flags, "--resume", "--strategy", "mirrored:2")
    assert finished.status == 0, finished.stderr
    config = json.loads((run_dir / "config.json").read_text())
    assert (config["strategy"], config["strategies_before"]) == ("mirrored:2", ["none"])
    assert [row["epoch"] for row in rows(run_dir / "history.csv")] == ["1", "2"]
