import dataclasses

import keras
import numpy as np
import pytest

from savedmodels.tflite.conversion import convert_run
from tests.processors import convolves_in_bfloat16
from tests.savedmodels.servers import Models
from tests.trainers.programs import run_program
from tf_adaptive.data import ImageDataset
from tf_adaptive.exits.calibration import inverse
from tf_adaptive.reports.logits import collect_logits
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import load_finished_run
from tf_adaptive.runs.tables import read_exit_report

TEST_IMAGES = 60

# What the second version of the exported network computes in.
LOWER_DTYPE = "bfloat16" if convolves_in_bfloat16() else "float32"


@dataclasses.dataclass(frozen=True)
class Network:
    """The network of `finished_run`, and what it says of the first test images.

    Attributes:
        pictures: those images, uint8.
        images: the same, normalised.
        logits: `(exits, images, classes)`.
        scaled: the same, divided by the temperatures of the run's report.
    """

    model: keras.Model
    dataset: ImageDataset
    pictures: list[np.ndarray]
    images: np.ndarray
    logits: np.ndarray
    scaled: np.ndarray


@pytest.fixture(scope="session")
def network(finished_run):
    config, model = load_finished_run(finished_run)
    dataset = load_run_dataset(config)
    first = dataset.batches("test", TEST_IMAGES).take(1)
    logits, _ = collect_logits(model, first)
    ((images, _),) = first.as_numpy_iterator()
    temperatures = read_exit_report(finished_run, len(logits)).temperatures
    scaled = logits * inverse(temperatures)[:, None, None]
    pictures = dataset.pictures("test", range(TEST_IMAGES))
    return Network(model, dataset, pictures, images, logits, scaled)


@pytest.fixture(scope="session")
def drnet(finished_drnet):
    """The DRNet of `finished_drnet`, the run's data, and the first test images."""
    config, model = load_finished_run(finished_drnet)
    dataset = load_run_dataset(config)
    return model, dataset, dataset.pictures("test", range(TEST_IMAGES))


def _converted(run_dir, made_once, name, **arguments):
    return (
        made_once(
            name,
            lambda folder: convert_run(
                run_dir, folder / name, test_images=TEST_IMAGES, **arguments
            ),
        )
        / name
    )


# A barely trained network is near a tie on many images.
FLOAT16 = {"precision": "float16", "least_agreement": 90}
INT8 = {"precision": "int8", "least_agreement": 50}


@pytest.fixture(scope="session")
def float32_stages(finished_run, made_once):
    """The folder of a conversion with a file for each stage."""
    return _converted(finished_run, made_once, "float32_stages")


@pytest.fixture(scope="session")
def float32(converted_run):
    return converted_run


@pytest.fixture(scope="session")
def float16(finished_run, made_once):
    return _converted(finished_run, made_once, "float16", single_file=True, **FLOAT16)


@pytest.fixture(scope="session")
def int8(finished_run, made_once):
    return _converted(finished_run, made_once, "int8", single_file=True, **INT8)


@pytest.fixture(params=["float32_stages", "float32", "float16", "int8"])
def folder(request):
    """Every kind of conversion of a network with exits in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def drnet_parts(finished_drnet, made_once):
    """The folder of a DRNet, float32, a file for each signature."""
    return _converted(finished_drnet, made_once, "drnet_parts")


@pytest.fixture(scope="session")
def drnet_float32(finished_drnet, made_once):
    """The folder of a DRNet, float32, all signatures in one file."""
    return _converted(finished_drnet, made_once, "drnet_float32", single_file=True)


@pytest.fixture(scope="session")
def drnet_conversion(finished_drnet, made_once):
    """What the program printed, and the folder it wrote: float16, all signatures in one file."""

    def convert(folder):
        finished = run_program(
            "savedmodels.convert_tflite",
            *("--run_dir", finished_drnet, "--output", folder / "drnet_float16"),
            *("--precision", "float16", "--least_agreement", FLOAT16["least_agreement"]),
            *("--single_file", "--test_images", TEST_IMAGES),
        )
        assert (finished.status, finished.stderr) == (0, "")
        (folder / "stdout.txt").write_text(finished.stdout)

    folder = made_once("drnet_conversion", convert)
    return (folder / "stdout.txt").read_text(), folder / "drnet_float16"


@pytest.fixture(scope="session")
def drnet_float16(drnet_conversion):
    _, folder = drnet_conversion
    return folder


@pytest.fixture(scope="session")
def drnet_int8(finished_drnet, made_once):
    return _converted(finished_drnet, made_once, "drnet_int8", single_file=True, **INT8)


@pytest.fixture(params=["drnet_parts", "drnet_float32", "drnet_float16", "drnet_int8"])
def drnet_folder(request):
    """Every kind of conversion of a DRNet in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def served(made_once, finished_run, finished_drnet):
    """A folder of exported models: "exits", in version 2 in `LOWER_DTYPE`, and "drnet"."""

    def export(folder):
        lower = ("--dtype", LOWER_DTYPE, "--thresholds", "0.2,0.3,0.4")
        for run_dir, flags in (
            (finished_run, ("--name", "exits")),
            (finished_run, ("--name", "exits", *lower)),
            (finished_drnet, ()),
        ):
            directories = ("--run_dir", run_dir, "--output", folder / "models")
            exported = run_program("savedmodels.export", *directories, *flags)
            assert exported.status == 0, exported.stderr

    return made_once("served", export) / "models"


@pytest.fixture(scope="session")
def models(served):
    """The exported models, each loaded once."""
    return Models(served)
