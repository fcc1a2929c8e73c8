import pytest

from tests.trainers.programs import refused, rows, run_program

PROGRAM = "experiments.gradient_equilibrium"
SHORT = ("--dataset", "digits", "--train_size", "64", "--epochs", "1", "--scale", "small")


def test_a_row_is_trained_once(tmp_path):
    flags = ("--runs_dir", tmp_path / "runs", *SHORT, "--seeds", "0", "--rows", "multipliers")
    first, again = (run_program(PROGRAM, *flags) for _ in range(2))
    assert (first.status, again.status) == (0, 0), first.stderr + again.stderr
    assert "epoch 1/1" in first.stdout
    assert "epoch 1/1" not in again.stdout
    table = first.stdout[first.stdout.index("Test accuracy in percent") :]
    assert again.stdout.strip() == table.strip()
    assert "| multipliers, 1 epochs, rate 0.1, decay 0.0001 |" in table
    cells = rows(tmp_path / "runs" / "accuracies.csv")
    assert [cell["column"] for cell in cells] == [
        *(f"exit {number}" for number in range(1, 5)),
        "mean of exits",
    ]
    # It has curves of plain and GE alone.
    assert not (tmp_path / "runs" / "by_epoch.png").exists()
    (run_dir,) = (tmp_path / "runs").glob("multipliers_1_epochs_seed_0_*")
    (epoch,) = rows(run_dir / "history.csv")
    assert all(0 < float(epoch[f"train_update_stage_{number}"]) < 1 for number in range(1, 5))


@pytest.mark.large
def test_curves_by_epoch(tmp_path):
    flags = ("--runs_dir", tmp_path / "runs", *SHORT, "--seeds", "0", "--rows", "plain,GE")
    finished = run_program(PROGRAM, *flags)
    assert finished.status == 0, finished.stderr
    assert (tmp_path / "runs" / "by_epoch.png").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--seeds", "1,1"), "`seeds` must be different ones, one or more. Received: 1,1."),
        (("--seeds", "1,x"), "`seeds` must be whole numbers"),
        (("--scale", "large"), "`scale` must be one of paper, small"),
        (("--rows", "plain,EG"), "`rows` must be one of plain, GE, multipliers, undone, released"),
        (("--epochs", "0"), "`epochs` must be a whole number from 1 on"),
    ],
)
def test_refuses(tmp_path, flags, message):
    assert message in refused(tmp_path, PROGRAM, "--runs_dir", tmp_path / "runs", *flags)
