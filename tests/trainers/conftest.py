import pytest

from tests.trainers.programs import run_program

# Two epochs of eight steps.
TRAINING = (
    *("--dataset", "digits", "--preset", "msdnet_cifar_lingrow4"),
    *("--train_size", "128", "--validation_size", "64"),
    *("--batch_size", "16", "--epochs", "2", "--learning_rate", "0.05"),
)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """The directory of a run that nothing interrupted; copy it to change it."""
    run_dir = tmp_path_factory.mktemp("runs") / "finished"
    finished = run_program("trainers.train_multi_exit", *TRAINING, "--run_dir", run_dir)
    assert finished.status == 0, finished.stderr
    return run_dir
