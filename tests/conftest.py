# First, so that TensorFlow's notices are left out.
import trainers  # noqa: F401  # isort: skip

import gc
import os
import shutil

import filelock
import pytest
from matplotlib.figure import Figure

from tests.processors import convolves_in_bfloat16
from tests.tiny_networks import TINY
from tests.trainers.programs import REPOSITORY, run_program
from tf_adaptive.data.checked_files import CACHE_VARIABLE

# Two epochs of eight steps.
TRAINING = (
    *("--dataset", "digits", "--preset", TINY),
    *("--train_size", "128", "--validation_size", "64"),
    *("--batch_size", "16", "--epochs", "2", "--learning_rate", "0.05"),
)

# Four steps.
QUANTIZED_TRAINING = (
    *("--calibration_images", "20", "--epochs", "1", "--batch_size", "32"),
    *("--learning_rate", "0.01"),
)

# Two epochs of eight steps.
EXITS_TRAINING = (
    *("--dataset", "digits", "--train_size", "128", "--validation_size", "64"),
    *("--batch_size", "16", "--epochs", "2", "--learning_rate", "0.05", "--exits", "3"),
)
BUILT_EXITS_TRAINING = (*("--backbone", "resnet8_grey", "--weights", "none"), *EXITS_TRAINING)

# Two trials of both phases.
MULTI_EXIT_SEARCH = (
    *("--tuner", "multi_exit", "--model", "msdnet", "--preset", TINY),
    *("--dataset", "digits", "--train_size", "32", "--validation_size", "32"),
    *("--batch_size", "16", "--epochs", "1", "--phase_2_epochs", "1", "--trials", "2"),
    *("--gradient_equilibrium", "on", "--search", "random"),
)

# Four steps of stage 1 and of each of three trials.
DRNET_SEARCH = (
    *("--preset", "drnet_resnet6_grey", "--dataset", "digits", "--resolutions", "24,16,12"),
    *("--other_resolutions", "24,12", "--train_size", "64", "--validation_size", "32"),
    *("--target_gflops", "0.003", "--batch_size", "16", "--warmup_epochs", "0"),
    *("--stage_1_epochs", "1", "--epochs", "1", "--trials", "3", "--learning_rate", "0.05"),
    *("--search", "random"),
)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Nothing is left in the cache of whoever runs the tests; programs inherit it."""
    os.environ[CACHE_VARIABLE] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="module")
def _little_to_collect():
    """What earlier modules left is not looked through again and again by the garbage collector.

    Keras and keras-tuner call it, and a worker comes to hold millions of objects.
    """
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item):
    if "bfloat16" in item.name and not convolves_in_bfloat16():
        pytest.skip("TensorFlow has no convolutions in bfloat16 here")


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
def made_once(tmp_path_factory):
    """A function of a name and of one that fills a folder, which gives the folder.

    pytest-xdist's workers share it: the first that asks for the name fills it, the others wait.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def folder_of(name, fill):
        folder = root / "made_once" / name
        folder.parent.mkdir(exist_ok=True)
        with filelock.FileLock(f"{folder}.lock"):
            if not folder.exists():
                folder.mkdir()
                try:
                    fill(folder)
                except BaseException:
                    shutil.rmtree(folder)
                    raise
        return folder

    return folder_of


@pytest.fixture(scope="session")
def finished_run(made_once):
    """The directory of a run that nothing interrupted; copy it to change it."""

    def train(folder):
        arguments = (*TRAINING, "--run_dir", folder / "finished")
        finished = run_program("trainers.train_multi_exit", *arguments)
        assert finished.status == 0, finished.stderr

    return made_once("runs", train) / "finished"


@pytest.fixture(scope="session")
def quantized_run(finished_run, made_once):
    """The directory of what quantization-aware training made of `finished_run`."""

    def train(folder):
        directories = ("--run_dir", finished_run, "--output_dir", folder / "quantized")
        finished = run_program("trainers.train_quantized", *QUANTIZED_TRAINING, *directories)
        assert (finished.status, finished.stderr) == (0, "")

    return made_once("quantized_runs", train) / "quantized"


@pytest.fixture(scope="session")
def converted_run(finished_run, made_once):
    """The folder of `finished_run` in TFLite, float32, all stages in one file."""

    def convert(folder):
        finished = run_program(
            "savedmodels.convert_tflite",
            *("--run_dir", finished_run, "--output", folder / "float32"),
            *("--test_images", "60", "--single_file"),
        )
        assert (finished.status, finished.stderr) == (0, "")

    return made_once("converted_runs", convert) / "float32"


# Four steps of each stage.
DRNET_TRAINING = (
    *("--preset", "drnet_resnet6_grey", "--dataset", "digits", "--resolutions", "24,16,12"),
    *("--train_size", "128", "--validation_size", "64", "--target_gflops", "0.003"),
    *("--batch_size", "32", "--stage_1_epochs", "1", "--stage_2_epochs", "1"),
    *("--warmup_epochs", "0", "--dense"),
)

# Programs that train a network twice, with their flags but for --run_dir.
TWO_PHASES = (
    ("trainers.train_drnet", DRNET_TRAINING),
    (
        "trainers.train_exits",
        (*BUILT_EXITS_TRAINING, "--mode", "backbone_then_joint", "--backbone_epochs", "1"),
    ),
)
# Those that make a new run of a finished one, in --output_dir.
SECOND_RUNS = ("trainers.train_collaboration", "trainers.train_quantized")


@pytest.fixture(scope="session")
def finished_drnet(made_once):
    """The directory of a DRNet's run that nothing interrupted; copy it to change it."""

    def train(folder):
        arguments = (*DRNET_TRAINING, "--run_dir", folder / "drnet")
        finished = run_program("trainers.train_drnet", *arguments)
        assert finished.status == 0, finished.stderr

    return made_once("drnet_runs", train) / "drnet"


# Two epochs of eight steps.
STATIC_TRAINING = (
    *("--dataset", "digits", "--backbone", "resnet8_grey", "--weights", "none"),
    *("--train_size", "128", "--validation_size", "64"),
    *("--batch_size", "16", "--epochs", "2", "--learning_rate", "0.05"),
)


@pytest.fixture(scope="session")
def static_run(made_once):
    """The directory of the run of a network with one exit; copy it to change it."""

    def train(folder):
        arguments = (*STATIC_TRAINING, "--run_dir", folder / "static")
        finished = run_program("trainers.train_static", *arguments)
        assert finished.status == 0, finished.stderr

    return made_once("static_runs", train) / "static"


@pytest.fixture(scope="session")
def release(finished_run, finished_drnet, made_once):
    """The folder of both runs as released networks; copy it to change it."""

    def write(folder):
        finished = run_program(
            "savedmodels.write_weights",
            *("--run_dirs", f"{finished_run},{finished_drnet}"),
            *("--names", "msdnet_digits,drnet_digits", "--output", folder / "release"),
            *("--license_file", REPOSITORY / "LICENSE"),
        )
        assert finished.status == 0, finished.stderr
        (folder / "stdout").write_text(finished.stdout)

    return made_once("releases", write) / "release"
