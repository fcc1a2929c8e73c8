import pytest
from matplotlib.figure import Figure

from tests.trainers.programs import run_program

# Two epochs of eight steps.
TRAINING = (
    *("--dataset", "digits", "--preset", "msdnet_cifar_lingrow4"),
    *("--train_size", "128", "--validation_size", "64"),
    *("--batch_size", "16", "--epochs", "2", "--learning_rate", "0.05"),
)

# Four steps.
QUANTIZED_TRAINING = (
    *("--calibration_images", "20", "--epochs", "1", "--batch_size", "32"),
    *("--learning_rate", "0.01"),
)


@pytest.fixture
def second_figure_fails(monkeypatch):
    """Saving a second figure ends as on a full disk, with half a file there."""
    saved = []

    def fails_at_the_second(self, path, **_):
        saved.append(path)
        if len(saved) == 2:
            raise OSError("No space left on device")
        with open(path, "w") as file:
            file.write("half")

    monkeypatch.setattr(Figure, "savefig", fails_at_the_second)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """The directory of a run that nothing interrupted; copy it to change it."""
    run_dir = tmp_path_factory.mktemp("runs") / "finished"
    finished = run_program("trainers.train_multi_exit", *TRAINING, "--run_dir", run_dir)
    assert finished.status == 0, finished.stderr
    return run_dir


@pytest.fixture(scope="session")
def quantized_run(finished_run, tmp_path_factory):
    """The directory of what quantization-aware training made of `finished_run`."""
    run_dir = tmp_path_factory.mktemp("runs") / "quantized"
    arguments = (*QUANTIZED_TRAINING, "--run_dir", finished_run, "--output_dir", run_dir)
    finished = run_program("trainers.train_quantized", *arguments)
    assert (finished.status, finished.stderr) == (0, "")
    return run_dir


@pytest.fixture(scope="session")
def converted_run(finished_run, tmp_path_factory):
    """The folder of `finished_run` in TFLite, float32, all stages in one file."""
    folder = tmp_path_factory.mktemp("tflite") / "float32"
    finished = run_program(
        "savedmodels.convert_tflite",
        *("--run_dir", finished_run, "--output", folder, "--test_images", "60", "--single_file"),
    )
    assert (finished.status, finished.stderr) == (0, "")
    return folder


# Four steps of each stage.
DRNET_TRAINING = (
    *("--preset", "drnet_resnet6_grey", "--dataset", "digits", "--resolutions", "24,16,12"),
    *("--train_size", "128", "--validation_size", "64", "--target_gflops", "0.003"),
    *("--batch_size", "32", "--stage_1_epochs", "1", "--stage_2_epochs", "1"),
    *("--warmup_epochs", "0", "--dense"),
)


@pytest.fixture(scope="session")
def finished_drnet(tmp_path_factory):
    """The directory of a DRNet's run that nothing interrupted; copy it to change it."""
    run_dir = tmp_path_factory.mktemp("runs") / "drnet"
    finished = run_program("trainers.train_drnet", *DRNET_TRAINING, "--run_dir", run_dir)
    assert finished.status == 0, finished.stderr
    return run_dir


# Two epochs of eight steps.
STATIC_TRAINING = (
    *("--dataset", "digits", "--backbone", "resnet8_grey", "--weights", "none"),
    *("--train_size", "128", "--validation_size", "64"),
    *("--batch_size", "16", "--epochs", "2", "--learning_rate", "0.05"),
)


@pytest.fixture(scope="session")
def static_run(tmp_path_factory):
    """The directory of the run of a network with one exit; copy it to change it."""
    run_dir = tmp_path_factory.mktemp("runs") / "static"
    finished = run_program("trainers.train_static", *STATIC_TRAINING, "--run_dir", run_dir)
    assert finished.status == 0, finished.stderr
    return run_dir
