import pytest

from tests.pytorch_files import write_legacy_file, write_zip_file
from tests.reference_networks import (
    REFERENCE_NETWORKS,
    assert_reference_logits,
    reference_state_dict,
)
from tests.trainers.programs import run_program
from tf_adaptive.runs.directory import load_finished_run

PROGRAM = "trainers.import_checkpoint"
# Reference file → the program's name of the network, and what it was trained on.
PUBLISHED = {
    "msdnet_cifar100_lingrow5": ("msdnet", "cifar100"),
    "ranet_cifar10_lg3": ("ranet", "cifar10"),
}


def arguments(reference, tmp_path):
    model, dataset = PUBLISHED[reference]
    _, preset, _ = REFERENCE_NETWORKS[reference]
    return (
        *("--model", model, "--preset", preset, "--dataset", dataset),
        *("--checkpoint", tmp_path / "model_best.pth.tar", "--run_dir", tmp_path / "run"),
    )


def write_checkpoint(reference, path, write=write_legacy_file):
    arrays = {f"module.{name}": array for name, array in reference_state_dict(reference).items()}
    write(path, {"epoch": 300, "state_dict": arrays})


@pytest.mark.parametrize(
    ("reference", "write"),
    [("msdnet_cifar100_lingrow5", write_legacy_file), ("ranet_cifar10_lg3", write_zip_file)],
)
def test_a_published_checkpoint_is_a_finished_run(tmp_path, reference, write):
    write_checkpoint(reference, tmp_path / "model_best.pth.tar", write)
    finished = run_program(PROGRAM, *arguments(reference, tmp_path))
    assert finished.status == 0, finished.stderr
    config, model = load_finished_run(tmp_path / "run")
    model_name, dataset = PUBLISHED[reference]
    network, preset, _ = REFERENCE_NETWORKS[reference]
    assert type(model) is network
    assert (config["model"], config["preset"]) == (model_name, preset)
    assert config["dataset"] == dataset
    assert_reference_logits(model, reference)


def test_a_bad_checkpoint_makes_no_run(tmp_path):
    reference = "msdnet_cifar100_lingrow5"
    checkpoint = tmp_path / "model_best.pth.tar"
    write_checkpoint(reference, checkpoint)

    def line(*more):
        finished = run_program(PROGRAM, *arguments(reference, tmp_path), *more)
        assert finished.status == 2, finished.stderr
        assert not (tmp_path / "run").exists()
        (only,) = finished.stderr.splitlines()
        return only

    assert "must be a file" in line("--checkpoint", tmp_path / "nowhere")
    other_depth = line("--preset", "msdnet_cifar_lingrow4")
    assert "Left over: 'blocks.4." in other_depth or "Missing: 'blocks." in other_depth
    other_network = line("--model", "ranet", "--preset", "ranet_cifar_lg3")
    assert "Missing: 'FirstLayer.layers." in other_network
    checkpoint.write_bytes(checkpoint.read_bytes()[:100_000])
    assert "must be a whole file of PyTorch weights" in line()
    checkpoint.write_text("not a checkpoint")
    assert "must be a whole file of PyTorch weights" in line()
