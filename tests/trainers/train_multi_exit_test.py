import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TRAINING
from tests.tiny_networks import TINY
from tests.trainers.programs import (
    REPOSITORY,
    assert_same_weights,
    files,
    kill_program_at,
    rows,
    run_program,
    without_times,
)
from tf_adaptive.layers import BoostedSum
from tf_adaptive.runs.directory import load_finished_run

TABLES = {
    f"{name}.csv" for name in ("anytime", "budgeted", "calibration", "optimal", "promise", "splits")
}
FIGURES = (
    *("accuracy_against_macs.png", "exits_along_budget.png", "first_and_last_exit.png"),
    "reliability.png",
)


def test_config_holds_every_flag_the_data_and_versions(finished_run):
    config = json.loads((finished_run / "config.json").read_text())
    assert config["preset"] == TINY
    assert config["batch_size"] == 16
    assert config["learning_rate"] == 0.05
    assert config["image_size"] is None
    assert config["resume"] is False
    assert config["image_shape"] == [24, 24, 1]
    assert config["center_crop"] is False
    assert config["sizes"]["train"] == 128
    assert config["versions"].keys() == {"python", "tf_adaptive", "keras", "tensorflow"}
    help_text = run_program("trainers.train_multi_exit", "--help").stdout
    flags = {
        line.strip().removeprefix("--").removeprefix("[no]").split(":")[0]
        for line in help_text.splitlines()
        if line.strip().startswith("--")
    }
    data = {"class_names", "image_shape", "center_crop", "mean", "std", "sizes"}
    assert flags - {"help", "helpfull", "helpshort", "helpxml"} == (
        config.keys() - {"versions"} - data
    )
    assert config["class_names"] == [str(digit) for digit in range(10)]
    assert config["image_shape"] == [24, 24, 1]
    assert config["center_crop"] is False


def test_run_directory(finished_run):
    assert {path.name for path in finished_run.iterdir()} == {
        "checkpoints",
        "config.json",
        "history.csv",
        "model.keras",
        "report",
        "tensorboard",
    }
    assert [row["epoch"] for row in rows(finished_run / "history.csv")] == ["1", "2"]
    assert any((finished_run / "tensorboard").iterdir())
    assert (finished_run / "checkpoints" / "checkpoint").is_file()


def test_a_run_killed_before_its_report_gets_it_when_resumed(finished_run, tmp_path):
    run_dir = shutil.copytree(finished_run, tmp_path / "run")
    shutil.rmtree(run_dir / "report")
    finished = run_program("trainers.train_multi_exit", *TRAINING, "--run_dir", run_dir, "--resume")
    assert (finished.status, finished.stderr) == (0, "")
    assert f"{run_dir} is finished but for its report" in finished.stdout
    assert files(run_dir / "report") == files(finished_run / "report")


def test_a_full_disk_is_a_line_and_the_run_goes_on_later(finished_run, tmp_path):
    arguments = [*TRAINING, "--run_dir", tmp_path / "run"]
    # A file of a megabyte is too large for a disk that is full then.
    stopped = run_program("trainers.train_multi_exit", *arguments, file_bytes=10**6)
    assert stopped.status == 1
    (line,) = [line for line in stopped.stderr.splitlines() if line.startswith("error: ")]
    assert "Received: File too large: " in line and "Traceback" not in stopped.stderr
    finished = run_program("trainers.train_multi_exit", *arguments, "--resume")
    assert (finished.status, finished.stderr) == (0, "")
    assert_same_weights(tmp_path / "run", finished_run)


def test_report(finished_run):
    report = finished_run / "report"
    assert {path.name for path in report.iterdir()} == {*TABLES, *FIGURES, "report.html"}
    assert [row["exit"] for row in rows(report / "anytime.csv")] == ["1", "2", "3", "4"]
    for row in rows(report / "budgeted.csv"):
        shares = [float(row[f"share_exit_{exit}"]) for exit in range(1, 5)]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
    for name in FIGURES:
        with Image.open(report / name) as figure:
            assert min(figure.size) > 400


def test_killed_run_continues_bit_for_bit(tmp_path, finished_run):
    run_dir = tmp_path / "run"
    arguments = ["--run_dir", str(run_dir), "--checkpoint_seconds", "0.001"]
    # A checkpoint at the start and after each of eight steps: this is within the second epoch.
    wanted = run_dir / "checkpoints" / "ckpt-11.index"
    kill_program_at(wanted, "trainers.train_multi_exit", *TRAINING, *arguments)
    assert len(rows(run_dir / "history.csv")) == 1
    assert not (run_dir / "model.keras").exists()

    finished = run_program("trainers.train_multi_exit", *TRAINING, *arguments, "--resume")
    assert finished.status == 0, finished.stderr
    assert "epoch 1/2" not in finished.stdout
    assert "epoch 2/2" in finished.stdout
    assert without_times(run_dir / "history.csv") == without_times(finished_run / "history.csv")
    for name in ("anytime.csv", "budgeted.csv"):
        assert (run_dir / "report" / name).read_bytes() == (
            finished_run / "report" / name
        ).read_bytes()


def test_real_process_answers_in_one_line(tmp_path):
    command = [sys.executable, "-m", "trainers.train_multi_exit", "--schedule", "cosin"]
    finished = subprocess.run(
        [*command, "--run_dir", tmp_path / "run"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr == (
        "error: `schedule` must be one of multi_step, cosine. Received: schedule='cosin'. "
        "Did you mean 'cosine'?\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_boosted_exits_begin_with_plain_ones_and_go_all_the_way(finished_run, tmp_path):
    more = (
        *("--boosting_weight", "0.5", "--epochs", "1", "--log_updates", "--alpha", "0.5"),
        *("--teacher_momentum", "0.9", "--leaving_share", "0.5", "--gradient_equilibrium"),
    )
    directories = ("--weights_from", finished_run, "--run_dir", tmp_path / "run")
    finished = run_program("trainers.train_multi_exit", *TRAINING, *more, *directories)
    assert finished.status == 0, finished.stderr
    _, model = load_finished_run(tmp_path / "run")
    boosted = [layer.name for layer in model.layers if isinstance(layer, BoostedSum)]
    assert boosted == [f"exit_{number}_boosted" for number in (2, 3, 4)]
    (epoch,) = rows(tmp_path / "run" / "history.csv")
    assert all(0 < float(epoch[f"train_update_stage_{number}"]) < 1 for number in range(1, 5))
    # Both compare themselves with the network.
    for program in ("savedmodels.export", "savedmodels.convert_tflite"):
        directories = ("--run_dir", tmp_path / "run", "--output", tmp_path / program)
        finished = run_program(program, *directories)
        assert finished.status == 0, finished.stderr


def test_gradient_equilibrium_changes_the_training_and_not_the_network(finished_run, tmp_path):
    arguments = (*TRAINING, "--gradient_equilibrium", "--run_dir", tmp_path / "run")
    finished = run_program("trainers.train_multi_exit", *arguments)
    assert finished.status == 0, finished.stderr
    assert "warning: trainings of up to 4,512 steps gained nothing by Gradient" in finished.stderr
    _, plain = load_finished_run(finished_run)
    _, balanced = load_finished_run(tmp_path / "run")
    assert type(balanced) is type(plain)
    assert balanced.get_config() == plain.get_config()
    assert not np.array_equal(balanced.weights[0], plain.weights[0])
