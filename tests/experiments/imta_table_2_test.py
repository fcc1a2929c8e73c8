import pytest

from tests.trainers.programs import refused, rows, run_program

PROGRAM = "experiments.imta_table_2"


@pytest.mark.large
def test_the_techniques_and_their_control(tmp_path):
    flags = (
        *("--runs_dir", tmp_path / "runs", "--dataset", "digits", "--train_size", "128"),
        *("--scale", "small", "--preset", "msdnet_cifar_lingrow4", "--epochs", "1"),
        *("--phase_2_epochs", "1", "--seeds", "0", "--rows", "plain,control,ISC"),
    )
    finished = run_program(PROGRAM, *flags)
    assert finished.status == 0, finished.stderr
    # Phase I is that of all three.
    assert finished.stdout.count("trainers.train_multi_exit") == 1
    assert finished.stdout.count("trainers.train_collaboration") == 2
    table = rows(tmp_path / "runs" / "table_2.csv")
    assert [(cell["row"], cell["column"]) for cell in table[:7]] == [
        *(("plain", f"exit {number}") for number in range(1, 5)),
        *(("plain", f"{share} % of the MACs") for share in (30, 50, 75)),
    ]
    assert [cell["row"] for cell in table[::7]] == ["plain", "control", "ISC"]
    again = run_program(PROGRAM, *flags)
    assert "trainers." not in again.stdout


@pytest.mark.large
def test_the_paths_of_table_3_train_on_what_table_2_has(tmp_path):
    flags = (
        *("--runs_dir", tmp_path / "runs", "--dataset", "digits", "--train_size", "128"),
        *("--scale", "small", "--preset", "msdnet_cifar_narrow4", "--epochs", "1"),
        *("--phase_2_epochs", "1", "--seeds", "0"),
    )
    run_program(PROGRAM, *flags, "--rows", "control")
    finished = run_program(
        "experiments.imta_table_3", *flags, "--rows", "control,features,identity"
    )
    assert finished.status == 0, finished.stderr
    assert "trainers.train_multi_exit" not in finished.stdout
    assert finished.stdout.count("trainers.train_collaboration") == 2
    assert [cell["row"] for cell in rows(tmp_path / "runs" / "table_3.csv")[::7]] == [
        *("control", "features", "identity")
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--seeds", "1,1"), "`seeds` must be different ones, one or more. Received: 1,1."),
        (("--rows", "GE,ISO"), "`rows` must be one of plain, GE, control, ISC, OFA"),
        (("--scale", "tiny"), "`scale` must be one of paper, small"),
    ],
)
def test_refuses(tmp_path, flags, message):
    assert message in refused(tmp_path, PROGRAM, "--runs_dir", tmp_path / "runs", *flags)
