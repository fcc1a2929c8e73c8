import json

import pytest

from tests.conftest import MULTI_EXIT_SEARCH as SEARCH
from tests.trainers.programs import refused, rows, run_program, without_times

TUNE = "trainers.tune"


@pytest.fixture(scope="module")
def finished_search(made_once):
    def search(folder):
        finished = run_program(TUNE, *SEARCH, "--run_dir", folder / "search")
        assert (finished.status, finished.stderr) == (0, "")

    return made_once("multi_exit_searches", search) / "search"


def test_trials(finished_search):
    first, _ = rows(finished_search / "trials.csv")
    assert (first["exit_weight_ratio"], first["gradient_equilibrium"]) == ("1.0", "on")
    assert (first["alpha"], first["distillation_temperature"]) == ("0.1", "3.0")
    for number, row in enumerate(rows(finished_search / "trials.csv"), start=1):
        (history,) = rows(finished_search / f"trials/00{number}/phase_2/history.csv")
        accuracies = [float(history[f"validation_accuracy_exit_{exit}"]) for exit in range(1, 5)]
        assert float(row["objective"]) == pytest.approx(100 * sum(accuracies) / 4)
    names = [row["name"] for row in rows(finished_search / "pareto.csv")]
    assert names == 2 * [f"exit {number}" for number in range(1, 5)]


def test_both_phases_take_their_flags_and_repeat_the_trial(tmp_path, finished_search):
    best = json.loads((finished_search / "result.json").read_text())["best_trial"]
    run_dirs = [tmp_path / "phase_1", tmp_path / "phase_2"]
    for program, name, directories in (
        ("train_multi_exit", "best.flags", ("--run_dir", run_dirs[0])),
        (
            "train_collaboration",
            "best_collaboration.flags",
            ("--run_dir", run_dirs[0], "--output_dir", run_dirs[1]),
        ),
    ):
        flags = ("--flagfile", finished_search / name)
        finished = run_program(f"trainers.{program}", *flags, *directories)
        assert finished.status == 0, finished.stderr
    for run_dir in run_dirs:
        trained = finished_search / f"trials/00{best}" / run_dir.name / "history.csv"
        assert without_times(run_dir / "history.csv") == without_times(trained)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--gradient_equilibrium=of", "Did you mean 'off'?"),
        ("--gradient_equilibrium=", "`gradient_equilibrium` must be off, on, or both"),
        ("--exit_weight_ratios=0,1", "The range of `exit_weight_ratio` must be above 0"),
        ("--alphas=0.5,1.5", "`alpha` must be in [0, 1]"),
        ("--phase_2_epochs=-1", "`phase_2_epochs` must be a whole number from 0 on"),
        ("--target_gflops=1", "`target_gflops` must be left out with --tuner multi_exit"),
        ("--warmup_epochs=1", "`warmup_epochs` must be at least 0 and below `epochs`, 1"),
    ],
)
def test_bad_flags(tmp_path, flag, message):
    assert message in refused(tmp_path, TUNE, *SEARCH, "--run_dir", tmp_path / "run", flag)
