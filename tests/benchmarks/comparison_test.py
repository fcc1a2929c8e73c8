import json

import pytest
from PIL import Image

from tests.trainers.programs import run_program

PROGRAM = "benchmarks.comparison"


def run_with_report(run_dir, preset, dataset="digits"):
    (run_dir / "report").mkdir(parents=True)
    (run_dir / "config.json").write_text(json.dumps({"preset": preset, "dataset": dataset}))
    (run_dir / "report" / "anytime.csv").write_text(
        "exit,macs,accuracy_percent\n1,1000000,90.0000\n2,4000000,92.0000\n"
    )
    (run_dir / "report" / "budgeted.csv").write_text(
        "p,mean_macs,accuracy_percent,calibration_mean_macs,calibration_accuracy_percent\n"
        "0.5,1500000,91.5000,1500000,91.0\n1.0,2500000,92.0000,2500000,92.0\n"
    )
    return run_dir


@pytest.fixture
def run_dirs(tmp_path):
    return [run_with_report(tmp_path / preset, preset) for preset in ("first", "second")]


def test_table_and_figure(tmp_path, run_dirs):
    figure = tmp_path / "figure.png"
    finished = run_program(
        PROGRAM,
        *("--run_dirs", ",".join(map(str, run_dirs))),
        *("--budgets", "0.5", "--figure", figure),
    )
    assert finished.status == 0, finished.stderr
    rows = finished.stdout.splitlines()[2:]
    assert rows == [
        f"| {preset} | {row} |"
        for preset in ("first", "second")
        for row in (
            "exit 1 | 1.00 | 90.00 %",
            "exit 2 | 4.00 | 92.00 %",
            "early exit, p = 0.5 | 1.50 | 91.50 %",
        )
    ]
    assert Image.open(figure).format == "PNG"


def test_families(tmp_path, run_dirs):
    again = run_with_report(tmp_path / "again", "first")
    static = run_with_report(tmp_path / "static", None)
    (static / "report" / "anytime.csv").write_text(
        "exit,macs,accuracy_percent\n1,2000000,91.0000\n"
    )
    runs = ",".join(map(str, (*run_dirs, again, static)))
    figure = tmp_path / "figure.png"
    finished = run_program(PROGRAM, "--run_dirs", runs, "--figure", figure)
    assert finished.status == 0, finished.stderr
    names = [line.split(" | ")[0] for line in finished.stdout.splitlines()[2:]]
    assert list(dict.fromkeys(names)) == ["| first", "| second", "| again", "| static"]
    labels = ("--labels", "MSDNet,RANet,MSDNet,ResNet")
    finished = run_program(PROGRAM, "--run_dirs", runs, "--figure", figure, *labels)
    assert finished.status == 0, finished.stderr
    names = [line.split(" | ")[0] for line in finished.stdout.splitlines()[2:]]
    assert list(dict.fromkeys(names)) == ["| MSDNet", "| RANet", "| ResNet"]
    assert Image.open(figure).format == "PNG"


def test_refuses_runs_that_cannot_be_compared(tmp_path, run_dirs):
    def line(*directories, more=()):
        finished = run_program(PROGRAM, "--run_dirs", ",".join(map(str, directories)), *more)
        assert finished.status == 2, finished.stderr
        (only,) = finished.stderr.splitlines()
        return only

    assert "`run_dirs` must be two runs or more. Received: 1" in line(run_dirs[0])
    other = run_with_report(tmp_path / "other", "third", dataset="cifar10")
    assert "The runs must have the same dataset" in line(run_dirs[0], other)
    message = "`labels` must be one for each of the 2 runs. Received: 1."
    assert message in line(*run_dirs, more=("--labels", "one"))
    (run_dirs[1] / "report" / "anytime.csv").unlink()
    assert "The run must have a report" in line(*run_dirs)
