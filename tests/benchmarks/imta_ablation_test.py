import numpy as np
import pytest

from tests.trainers.programs import files, rows, run_program

PROGRAM = "benchmarks.imta_ablation"
ROWS = {"none": "plain", "GE": "equilibrium", "ISC": "isc", "OFA": "ofa"}
ROWS["GE, ISC and OFA"] = "ge__isc_and_ofa"


@pytest.fixture
def finished(tmp_path):
    """Reports of all runs of two seeds, and the accuracies in them: row → (seeds, exits)."""
    generator = np.random.default_rng(0)
    accuracies = {row: generator.uniform(80, 90, (2, 3)).round(2) for row in ROWS}
    for row, name in ROWS.items():
        for seed, values in enumerate(accuracies[row]):
            report = tmp_path / f"{name}_seed_{seed}" / "report"
            report.mkdir(parents=True)
            lines = [f"{exit},{value}" for exit, value in enumerate(values, start=1)]
            (report / "anytime.csv").write_text("\n".join(["exit,accuracy_percent", *lines]))
            (report / "budgeted.csv").write_text("p\n")
    return tmp_path, accuracies


def test_table_of_finished_runs(finished):
    runs_dir, accuracies = finished
    ended = run_program(PROGRAM, "--runs_dir", runs_dir, "--seeds", "0,1")
    assert ended.status == 0, ended.stderr
    assert "trainers." not in ended.stdout
    lines = [line for line in ended.stdout.splitlines() if line.startswith("| ")]
    assert lines[0] == "| | exit 1 | exit 2 | exit 3 |"
    for line, (row, values) in zip(lines[1:], accuracies.items(), strict=True):
        first, second = values
        spreads = np.abs(first - second) / np.sqrt(2)
        cells = [f"{m:.2f} ± {s:.2f}" for m, s in zip((first + second) / 2, spreads, strict=True)]
        assert line == f"| {row} | {' | '.join(cells)} |"
    table = rows(runs_dir / "ablation.csv")
    assert [line["row"] for line in table] == [row for row in ROWS for _ in range(3)]
    assert {line["seeds"] for line in table} == {"2"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--seeds", "1"), "`seeds` must be two or more different ones"),
        (("--seeds", "1,1"), "`seeds` must be two or more different ones"),
        (("--seeds", "1,x"), "`seeds` must be whole numbers"),
        (("--preset", "msdnet_cifar"), "`preset` must be one of"),
    ],
)
def test_refuses(finished, flags, message):
    runs_dir, _ = finished
    before = files(runs_dir)
    ended = run_program(PROGRAM, "--runs_dir", runs_dir, *flags)
    assert ended.status == 2
    assert message in ended.stderr
    assert files(runs_dir) == before
