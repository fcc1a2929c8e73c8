import json
import shutil

import pytest

from tests.conftest import DRNET_SEARCH as SEARCH
from tests.trainers.programs import (
    files,
    kill_program_at,
    refused,
    rows,
    run_program,
    without_times,
)

TUNE = "trainers.tune"


@pytest.fixture(scope="module")
def finished_search(made_once):
    """The directory of a search that nothing interrupted, and what it printed."""

    def search(folder):
        finished = run_program(TUNE, *SEARCH, "--run_dir", folder / "search")
        assert (finished.status, finished.stderr) == (0, "")
        (folder / "stdout.txt").write_text(finished.stdout)

    folder = made_once("searches", search)
    return folder / "search", (folder / "stdout.txt").read_text()


def test_run_directory(finished_search):
    run_dir, _ = finished_search
    assert {path.name for path in run_dir.iterdir()} == {
        *("config.json", "stage_1", "trials", "result.json"),
        *("trials.csv", "pareto.csv", "pareto.png", "best.flags"),
    }
    assert {path.name for path in (run_dir / "trials").iterdir()} == {
        f"00{number}{ending}" for number in (1, 2, 3) for ending in ("", ".json")
    }
    assert not list((run_dir / "trials").rglob("checkpoints"))


def test_the_first_trial_is_the_defaults(finished_search):
    run_dir, stdout = finished_search
    first, *others = rows(run_dir / "trials.csv")
    defaults = {
        "target_factor": "1.0",
        "flops_weight": "0.2",
        "temperature": "1.0",
        "final_temperature": "1.0",
        "predictor_learning_rate_factor": "0.1",
        "resolutions": "24,16,12",
    }
    assert {name: first[name] for name in defaults} == defaults
    for row in others:
        assert row["resolutions"] in ("24,16,12", "24,12")
        assert 0.02 <= float(row["flops_weight"]) <= 2 and row["flops_weight"] != "0.2"
    assert "Trial 1 of 3: the defaults" in stdout
    assert "beats the defaults" in stdout or "no other trial beats them" in stdout


def test_objective_by_hand(finished_search):
    run_dir, _ = finished_search
    costs = {"24": 0.005209482, "16": 0.002316042, "12": 0.001705418}
    (stage_1,) = rows(run_dir / "stage_1" / "history.csv")
    accuracies = {
        side: 100 * float(stage_1[f"validation_accuracy_resolution_{side}"]) for side in costs
    }
    price = max(
        (accuracies["24"] - accuracies["16"]) / (costs["24"] - costs["16"]),
        (accuracies["16"] - accuracies["12"]) / (costs["16"] - costs["12"]),
        1 / 0.003,
    )
    for number, row in enumerate(rows(run_dir / "trials.csv"), start=1):
        (history,) = rows(run_dir / f"trials/00{number}" / "history.csv")
        cost = sum(
            float(history[f"validation_share_{side}"]) * costs[side]
            for side in row["resolutions"].split(",")
        )
        accuracy = 100 * float(history["validation_accuracy"])
        expected = accuracy - price * max(0, cost - 0.003)
        assert float(row["objective"]) == pytest.approx(expected)
        assert float(row["accuracy_percent"]) == pytest.approx(accuracy)
        # The predictor's cost is in this one.
        assert float(row["mean_gflops"]) > cost
    objectives = [float(row["objective"]) for row in rows(run_dir / "trials.csv")]
    result = json.loads((run_dir / "result.json").read_text())
    assert result["objective"] == max(objectives)
    assert result["best_trial"] == objectives.index(max(objectives)) + 1
    fixed = {
        row["name"]: row for row in rows(run_dir / "pareto.csv") if row["name"] and not row["trial"]
    }
    assert float(fixed["16 pixels"]["accuracy_percent"]) == pytest.approx(accuracies["16"])
    assert float(fixed["16 pixels"]["mean_gflops"]) == pytest.approx(costs["16"])


def test_training_takes_the_best_flags_and_repeats_the_trial(tmp_path, finished_search):
    run_dir, _ = finished_search
    best = json.loads((run_dir / "result.json").read_text())["best_trial"]
    values = json.loads((run_dir / "trials" / f"00{best}.json").read_text())["values"]
    finished = run_program(
        "trainers.train_drnet",
        *("--flagfile", run_dir / "best.flags", "--run_dir", tmp_path / "run"),
    )
    assert finished.status == 0, finished.stderr
    assert "Stage 1" not in finished.stdout
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["target_gflops"] == values["target_factor"] * 0.003
    for name in ("flops_weight", "temperature", "final_temperature"):
        assert config[name] == values[name]
    assert config["resolutions"] == values["resolutions"].split(",")
    assert (config["stage_2_epochs"], config["batch_size"], config["dense"]) == (1, 16, False)
    repeated = without_times(tmp_path / "run" / "stage_2" / "history.csv")
    assert repeated == without_times(run_dir / "trials" / f"00{best}" / "history.csv")


def test_killed_search_ends_with_the_same_trials(tmp_path, finished_search):
    expected, _ = finished_search
    run_dir = tmp_path / "run"
    arguments = [*SEARCH, "--run_dir", str(run_dir), "--checkpoint_seconds", "0.001"]
    for part in ("stage_1", "trials/002"):
        kill_program_at(run_dir / part / "checkpoints" / "ckpt-3.index", TUNE, *arguments)
        arguments = [*SEARCH, "--run_dir", str(run_dir), "--resume"]
        arguments += ["--checkpoint_seconds", "0.001"]
    first = (run_dir / "trials" / "001.json").read_bytes()
    # The second trial has begun, and what it had done is kept.
    assert len(rows(run_dir / "trials.csv")) == 1
    finished = run_program(TUNE, *arguments)
    assert (finished.status, finished.stderr) == (0, "")
    assert "Stage 1," not in finished.stdout and "Trial 1 of 3" not in finished.stdout
    assert "Trial 2 of 3" in finished.stdout
    assert (run_dir / "trials" / "001.json").read_bytes() == first
    for name in ("trials.csv", "pareto.csv", "result.json"):
        assert (run_dir / name).read_bytes() == (expected / name).read_bytes()


def test_finished_search_starts_no_trial(tmp_path, finished_search):
    finished_dir, stdout = finished_search
    run_dir = shutil.copytree(finished_dir, tmp_path / "run")
    before = files(run_dir)
    finished = run_program(TUNE, *SEARCH, "--run_dir", run_dir, "--resume")
    assert finished.status == 0, finished.stderr
    assert f"The search in {run_dir} is finished: no trial is started." in finished.stdout
    assert files(run_dir) == before
    assert "\nTrial" not in finished.stdout
    assert stdout.splitlines()[-2] in finished.stdout


def test_another_searchs_stage_1(tmp_path, finished_search):
    """It is not trained again, and of its images fewer may do."""
    other, _ = finished_search
    arguments = (*SEARCH, "--trials", "2", "--train_size", "32", "--stage_1_from", other)
    finished = run_program(TUNE, *arguments, "--run_dir", tmp_path / "run")
    assert finished.status == 0, finished.stderr
    assert not (tmp_path / "run" / "stage_1").exists()
    assert f"--stage_1_from={other}" in (tmp_path / "run" / "best.flags").read_text()
    here, there = (rows(run_dir / "trials.csv") for run_dir in (tmp_path / "run", other))
    assert len(here) == 2
    # The same proposals, and the same classifier to compare with.
    assert here[1]["flops_weight"] == there[1]["flops_weight"]
    fixed, expected = (rows(run_dir / "pareto.csv")[-3:] for run_dir in (tmp_path / "run", other))
    assert fixed == expected


def test_directory_of_something_else(tmp_path, finished_search):
    finished_dir, _ = finished_search
    run_dir = shutil.copytree(finished_dir, tmp_path / "search")
    search = (*SEARCH, "--run_dir", run_dir)
    assert "which holds a run; resume it" in refused(run_dir, TUNE, *search)
    line = refused(run_dir, TUNE, *search, "--resume", "--flops_weights", "0.1,1")
    assert "`flops_weights` must be what the run in" in line
    line = refused(run_dir, TUNE, *search, "--resume", "--seed", "1")
    assert "`seed` must be what the run in" in line
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "config.json").write_text('{"preset": "drnet_resnet6_grey"}')
    line = refused(tmp_path, TUNE, *SEARCH, "--run_dir", tmp_path / "training", "--resume")
    assert "must be the directory of a search to resume" in line
    line = refused(tmp_path, TUNE, *SEARCH, "--run_dir", tmp_path, "--resume")
    assert "must be the directory of a run" in line
    line = refused(tmp_path, TUNE, *SEARCH, "--run_dir", tmp_path)
    assert "which holds something else" in line


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--tuner=drnett", "Did you mean 'drnet'?"),
        ("--preset=drnet_resnet5", "Did you mean 'drnet_resnet50'?"),
        ("--target_gflops=0.001", "`target_gflops` must be from 0.001705 to 0.005209"),
        ("--target_factors=0.5,1", "`target_factors` must be from 0.5685 to 1.736"),
        ("--target_factors=1,0.9", "and rise. Received: --target_factors=1,0.9"),
        ("--flops_weights=0.2,0.2", "`flops_weights` must be a range with two different ends"),
        ("--flops_weights=low,2", "`flops_weights` must be numbers with commas between"),
        ("--flops_weights=2,0.02", "The range of `flops_weight` must be finite and rise"),
        ("--temperatures=0,1", "The range of `temperature` must be above 0"),
        ("--other_resolutions=24,x", "`other_resolutions` must be whole numbers"),
        ("--other_resolutions=20,12", "must have the largest one of the first, 24"),
        ("--trials=1", "`trials` must be a whole number from 2 on"),
        ("--search=hyperband", "`trials` must be left out with hyperband"),
        ("--epochs=0", "`epochs` must be a whole number from 1 on"),
        ("--batch_size=65", "Received: 64 training images; lower `batch_size`, which is "),
        ("--learning_rate=0", "`learning_rate` must be finite and above 0"),
        ("--warmup_epochs=1", "`warmup_epochs` must be at least 0 and below `epochs`, 1"),
        ("--stage_1_from=nowhere", "`run_dir` must be the directory of a run"),
        ("--alphas=0.1,0.5", "`alphas` must be left out with --tuner drnet: it is one of multi_"),
    ],
)
def test_bad_flags(tmp_path, flag, message):
    assert message in refused(tmp_path, TUNE, *SEARCH, "--run_dir", tmp_path / "run", flag)


def test_one_point(tmp_path):
    fixed = ("target_factors", "flops_weights", "temperatures", "final_temperatures")
    fixed = [f"--{name}=1" for name in (*fixed, "predictor_learning_rate_factors")]
    at = SEARCH.index("--other_resolutions")
    search = (*SEARCH[:at], *SEARCH[at + 2 :], *fixed, "--run_dir", tmp_path / "run")
    assert "The search space must have more than one point" in refused(tmp_path, TUNE, *search)


def test_no_target(tmp_path):
    at = SEARCH.index("--target_gflops")
    search = (*SEARCH[:at], *SEARCH[at + 2 :], "--run_dir", tmp_path / "run")
    line = refused(tmp_path, TUNE, *search)
    assert "`target_gflops` must be given, from 0.001705 to 0.005209" in line
