import pytest

from tests.trainers.programs import refused, rows, run_program

PROGRAM = "experiments.techniques"


@pytest.mark.large
def test_rows_of_one_and_of_two_phases_take_as_many_epochs(tmp_path):
    finished = run_program(
        PROGRAM,
        *("--runs_dir", tmp_path / "runs", "--dataset", "digits", "--train_size", "128"),
        *("--scale", "small", "--epochs", "3", "--seeds", "1"),
        *("--rows", "last exit first,ISC"),
    )
    assert finished.status == 0, finished.stderr
    assert finished.stdout.count("--epochs=3") == 1
    assert "--last_exit_epochs=1" in finished.stdout
    phase_1, phase_2 = (
        next(line for line in finished.stdout.splitlines() if f"trainers.{program} " in line)
        for program in ("train_multi_exit --model=msdnet --dataset=digits", "train_collaboration")
    )
    assert "--epochs=3" in phase_1
    assert "--epochs=1" in phase_2
    assert "--epochs=2" in finished.stdout
    table = rows(tmp_path / "runs" / "techniques.csv")
    assert [cell["row"] for cell in table[::7]] == ["last exit first", "ISC"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--rows", "plain,BOOST"), "`rows` must be one of plain, GE, boosted"),
        # Names of several words can be asked for beside others.
        (("--rows", "boosted and GE,BOOST"), "Received: rows='BOOST'"),
        (("--epochs", "2"), "`epochs` must be a whole number from 3 on"),
        (("--scale", "tiny"), "`scale` must be one of paper, small"),
    ],
)
def test_refuses(tmp_path, flags, message):
    assert message in refused(tmp_path, PROGRAM, "--runs_dir", tmp_path / "runs", *flags)
