import importlib.util

import numpy as np
import pytest

from tests.reference_networks import read_reference, reference_weight
from tests.trainers.programs import run_program
from tf_adaptive.training.run_directory import load_finished_run

PROGRAM = "trainers.import_checkpoint"
PRESET = "msdnet_cifar_lingrow5"
REFERENCE = "msdnet_cifar100_lingrow5"

has_pytorch = importlib.util.find_spec("torch") is not None
needs_pytorch = pytest.mark.skipif(not has_pytorch, reason="PyTorch is not installed")


def arguments(tmp_path):
    return (
        *("--preset", PRESET, "--dataset", "cifar100"),
        *("--checkpoint", tmp_path / "model_best.pth.tar", "--run_dir", tmp_path / "run"),
    )


@pytest.mark.skipif(has_pytorch, reason="PyTorch is installed")
def test_says_what_it_needs(tmp_path):
    finished = run_program(PROGRAM, *arguments(tmp_path))
    assert finished.status == 2
    assert finished.stderr == (
        "error: Reading a PyTorch checkpoint needs PyTorch: pip install '.[pytorch]'\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def checkpoint(tmp_path):
    import torch

    path = tmp_path / "model_best.pth.tar"
    tensors = {
        f"module.{name}": torch.from_numpy(reference_weight(name, shape))
        for name, shape in read_reference(REFERENCE)["weights"]
    }
    torch.save({"epoch": 300, "state_dict": tensors}, path)
    return path


@needs_pytorch
def test_a_published_checkpoint_is_a_finished_run(tmp_path, checkpoint):
    finished = run_program(PROGRAM, *arguments(tmp_path))
    assert finished.status == 0, finished.stderr
    config, model = load_finished_run(tmp_path / "run")
    assert (config["preset"], config["dataset"]) == (PRESET, "cifar100")

    images = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype("float32")
    expected = np.array(read_reference(REFERENCE)["logits"])
    for ours, theirs in zip(model(images), expected, strict=True):
        assert np.linalg.norm(ours - theirs) <= 1e-4 * np.linalg.norm(theirs)


@needs_pytorch
def test_a_bad_checkpoint_makes_no_run(tmp_path, checkpoint):
    def line(*more):
        finished = run_program(PROGRAM, *arguments(tmp_path), *more)
        assert finished.status == 2, finished.stderr
        assert not (tmp_path / "run").exists()
        (only,) = finished.stderr.splitlines()
        return only

    assert "must be a file" in line("--checkpoint", tmp_path / "nowhere")
    other_network = line("--preset", "msdnet_cifar_lingrow4")
    assert "Left over: 'blocks.4." in other_network or "Missing: 'blocks." in other_network
    checkpoint.write_bytes(checkpoint.read_bytes()[:100_000])
    assert "must be a whole file of PyTorch weights" in line()
    checkpoint.write_text("not a checkpoint")
    assert "must be a whole file of PyTorch weights" in line()
