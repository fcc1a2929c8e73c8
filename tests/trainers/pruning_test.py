"""Pruning from the flag to the export."""

import json
import shutil

import numpy as np
import pytest

from tests.conftest import DRNET_TRAINING, TRAINING
from tests.trainers.programs import assert_same_weights, kill_program_at, refused, rows, run_program
from tf_adaptive.runs.directory import load_finished_run

TRAIN = "trainers.train_multi_exit"
PRUNED = (*TRAINING, "--prune_to", "0.75", "--prune_frequency", "2")


def sparsities(model):
    """Path, zeros and weights of every kernel; a DRNet's two networks have paths in common."""
    kernels = [v for v in model.trainable_variables if v.name == "kernel"]
    return [(v.path, np.sum(v.numpy() == 0), np.prod(v.shape)) for v in kernels]


def reported(run_dir):
    """The same in the report, and the row of totals."""
    *kernels, total = rows(run_dir / "report" / "sparsity.csv")
    counted = [(row["kernel"], int(row["zeros"]), int(row["weights"])) for row in kernels]
    return counted, (int(total["zeros"]), int(total["weights"]))


def assert_exactly_sparse(model):
    assert sparsities(model)
    for _, zeros, size in sparsities(model):
        assert zeros == size - round(size / 4)


@pytest.fixture(scope="module")
def pruned_run(finished_run, made_once):
    def train(folder):
        run_dir = folder / "pruned"
        finished = run_program(TRAIN, *PRUNED, "--weights_from", finished_run, "--run_dir", run_dir)
        assert (finished.status, finished.stderr) == (0, "")
        assert "75.00 %. model.keras has " in finished.stdout

    return made_once("pruned_runs", train) / "pruned"


def test_every_kernel_is_as_sparse_as_asked(pruned_run):
    config, model = load_finished_run(pruned_run)
    assert config["prune_to"] == 0.75
    assert_exactly_sparse(model)


def test_report(pruned_run):
    _, model = load_finished_run(pruned_run)
    kernels, total = reported(pruned_run)
    assert kernels == sparsities(model)
    assert total == tuple(sum(row[column] for row in kernels) for column in (1, 2))
    dense, pruned = rows(pruned_run / "report" / "file_size.csv")
    assert int(dense["bytes"]) == (pruned_run / "model.keras").stat().st_size
    assert int(pruned["gzip_bytes"]) < 0.6 * int(dense["gzip_bytes"])


def test_evaluation_reports_it_again(tmp_path, pruned_run):
    run_dir = shutil.copytree(pruned_run, tmp_path / "run")
    report = run_dir / "report"
    before = [(report / name).read_bytes() for name in ("sparsity.csv", "anytime.csv")]
    (report / "sparsity.csv").unlink()
    finished = run_program("trainers.evaluate", "--run_dir", run_dir)
    assert (finished.status, finished.stderr) == (0, "")
    assert [(report / name).read_bytes() for name in ("sparsity.csv", "anytime.csv")] == before


def test_killed_run_continues_bit_for_bit(tmp_path, finished_run, pruned_run):
    run_dir = tmp_path / "run"
    arguments = [*PRUNED, "--weights_from", str(finished_run), "--run_dir", str(run_dir)]
    arguments += ["--checkpoint_seconds", "0.001"]
    # A checkpoint at the start and after each step: three of four updates of the masks are done.
    kill_program_at(run_dir / "checkpoints" / "ckpt-6.index", TRAIN, *arguments)
    assert not (run_dir / "model.keras").exists()
    finished = run_program(TRAIN, *arguments, "--resume")
    assert (finished.status, finished.stderr) == (0, "")
    assert_same_weights(run_dir, pruned_run)


def test_export_and_conversion(tmp_path, pruned_run):
    run = ("--run_dir", pruned_run, "--output")
    finished = run_program("savedmodels.export", *run, tmp_path / "served")
    assert (finished.status, finished.stderr) == (0, "")
    few = ("--single_file", "--test_images", "60", "--least_agreement", "100")
    finished = run_program("savedmodels.convert_tflite", *run, tmp_path / "tflite", *few)
    assert (finished.status, finished.stderr) == (0, "")


def test_phase_two_leaves_the_zeros_below_the_exits(tmp_path, pruned_run):
    output_dir = tmp_path / "collaborating"
    short = ("--epochs", "1", "--batch_size", "16", "--augmented_passes", "1")
    directories = ("--run_dir", pruned_run, "--output_dir", output_dir)
    finished = run_program("trainers.train_collaboration", *directories, *short)
    assert (finished.status, finished.stderr) == (0, "")
    before, after = (sparsities(load_finished_run(run)[1]) for run in (pruned_run, output_dir))
    # All but the four exits' kernels.
    own = [row for row in before if row in after]
    assert len(own) == len(before) - 4
    assert (output_dir / "report" / "sparsity.csv").is_file()


def test_drnet_is_pruned_in_stage_2(tmp_path, finished_drnet):
    pruning = ("--prune_to", "0.75", "--prune_frequency", "1", "--run_dir", tmp_path / "run")
    arguments = (*DRNET_TRAINING, *pruning, "--stage_1_from", finished_drnet)
    finished = run_program("trainers.train_drnet", *arguments)
    assert (finished.status, finished.stderr) == (0, "")
    _, model = load_finished_run(tmp_path / "run")
    assert_exactly_sparse(model)
    assert sparsities(model.predictor)
    assert reported(tmp_path / "run")[0] == sparsities(model)


@pytest.mark.parametrize("value", ["0", "1", "-0.1", "1.5", "nan"])
@pytest.mark.parametrize(
    ("program", "arguments"),
    [(TRAIN, TRAINING), ("trainers.train_drnet", DRNET_TRAINING)],
    ids=["train_multi_exit", "train_drnet"],
)
def test_sparsity_out_of_range(tmp_path, program, arguments, value):
    # The data set is not looked at: there is none of that name.
    arguments = (*arguments, "--dataset", "nowhere", "--run_dir", tmp_path / "run")
    line = refused(tmp_path, program, *arguments, f"--prune_to={value}")
    assert line == (
        f"error: `prune_to` must be above 0 and below 1. Received: prune_to={float(value)}."
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--prune_begin=0.8",), "`prune_begin` and `prune_end` must be parts of the training in"),
        (("--prune_end=1.1",), "from 0 to 1. Received: prune_begin=0.0, prune_end=1.1"),
        (("--prune_frequency=0",), "`prune_frequency` must be a whole number from 1 on"),
        (("--prune_end=0.01",), "a step or more after `prune_begin`"),
    ],
)
def test_schedule_out_of_range(tmp_path, flags, message):
    arguments = (*TRAINING, "--prune_to=0.5", *flags, "--run_dir", tmp_path / "run")
    assert message in refused(tmp_path, TRAIN, *arguments)


def test_weights_of_another_network(tmp_path, finished_run):
    arguments = (*TRAINING, "--preset", "msdnet_cifar_lingrow5", "--weights_from", finished_run)
    line = refused(tmp_path, TRAIN, *arguments, "--run_dir", tmp_path / "run")
    assert "`weights_from` must be a run of the same preset, image channels and number of" in line
    assert f"Received: {finished_run}, whose network differs" in line


def test_settings_of_an_unpruned_run(finished_run):
    config = json.loads((finished_run / "config.json").read_text())
    assert (config["prune_to"], config["weights_from"]) == (None, None)
    assert not (finished_run / "report" / "sparsity.csv").exists()
