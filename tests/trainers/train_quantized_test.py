"""Quantization-aware training from a finished run to its files."""

import json
import shutil

import numpy as np
import pytest

from savedmodels.tflite.exit_runner import StagedRunner
from savedmodels.tflite.flatbuffer_checks import operations, read_flatbuffer
from tests.conftest import QUANTIZED_TRAINING
from tests.trainers.programs import assert_same_weights, kill_program_at, refused, rows, run_program
from tf_adaptive import with_quantization
from tf_adaptive.compression.quantization import is_quantized
from tf_adaptive.data.calibration import read_calibration_images
from tf_adaptive.layers import FakeQuantize
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import load_finished_run

PROGRAM = "trainers.train_quantized"


def ranges(model):
    return [layer.get_weights() for layer in model.layers if isinstance(layer, FakeQuantize)]


def test_weights_learn_and_ranges_stay(finished_run, quantized_run):
    config, trained = load_finished_run(finished_run)
    images = read_calibration_images(load_run_dataset(config), 20)
    before = with_quantization(trained, images)
    config, model = load_finished_run(quantized_run)
    assert (config["model"], config["dataset"], config["train_size"]) == ("msdnet", "digits", 128)
    assert is_quantized(model)
    np.testing.assert_allclose(ranges(model), ranges(before), rtol=1e-5)
    for ours, theirs in zip(model.trainable_variables, before.trainable_variables, strict=True):
        assert 0 < np.abs(ours.numpy() - theirs.numpy()).max() < 0.1


def test_history_and_report(quantized_run):
    (row,) = rows(quantized_run / "history.csv")
    assert float(row["loss"]) > 0
    assert len(rows(quantized_run / "report" / "anytime.csv")) == 4


def test_killed_run_continues_bit_for_bit(tmp_path, finished_run, quantized_run):
    run_dir = tmp_path / "run"
    arguments = [*QUANTIZED_TRAINING, "--run_dir", str(finished_run), "--output_dir", str(run_dir)]
    arguments += ["--checkpoint_seconds", "0.001"]
    kill_program_at(run_dir / "checkpoints" / "ckpt-2.index", PROGRAM, *arguments)
    assert not (run_dir / "model.keras").exists()
    finished = run_program(PROGRAM, *arguments, "--resume")
    assert (finished.status, finished.stderr) == (0, "")
    assert_same_weights(run_dir, quantized_run)


def test_conversion_takes_its_ranges(tmp_path, quantized_run):
    output = tmp_path / "tflite"
    run = ("--run_dir", quantized_run, "--output", output)
    line = refused(tmp_path, "savedmodels.convert_tflite", *run)
    assert "`precision` must be int8 for a run of trainers.train_quantized" in line
    assert "Received: precision='float32'" in line
    # A barely trained network is near a tie on many images.
    few = ("--precision", "int8", "--test_images", "60", "--single_file", "--least_agreement", "50")
    finished = run_program("savedmodels.convert_tflite", *run, *few)
    assert (finished.status, finished.stderr) == (0, "")
    model = read_flatbuffer((output / "network.tflite").read_bytes())
    found = set().union(*(operations(model, graph) for graph in model.subgraphs))
    conversions = {"QUANTIZE", "DEQUANTIZE"}
    built_in = {"AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "FULLY_CONNECTED", "PAD"}
    assert found == built_in | conversions
    # Within steps of the logits' 8 bits.
    config, keras_model = load_finished_run(quantized_run)
    dataset = load_run_dataset(config)
    runner = StagedRunner(output)
    logits = np.stack([runner.all_exits(each) for each in dataset.pictures("test", range(40))], 1)
    images, _ = next(iter(dataset.batches("test", 40)))
    bounds = [
        keras_model.get_layer(f"exit_{number}_quantized").get_weights() for number in range(1, 5)
    ]
    steps = np.array([maximum - minimum for minimum, maximum in bounds]) / 255
    differences = np.abs(logits - np.stack(keras_model(images))) / steps[:, None, None]
    assert differences.max() < 10
    assert differences.mean() < 1


def test_saved_model(tmp_path, quantized_run):
    finished = run_program(
        "savedmodels.export", "--run_dir", quantized_run, "--output", tmp_path / "served"
    )
    assert (finished.status, finished.stderr) == (0, "")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--calibration_images=0",), "`calibration_images` must be a whole number from 1 on"),
        (("--epochs=0",), "`epochs` must be a whole number from 1 on"),
        (("--batch_size=0",), "`batch_size` must be a whole number from 1 on"),
        (("--learning_rate=0",), "`learning_rate` must be finite and above 0"),
        (("--seed=-1",), "`seed` must be a whole number from 0"),
    ],
)
def test_flags_out_of_range(tmp_path, finished_run, flags, message):
    run = ("--run_dir", finished_run, "--output_dir", tmp_path / "run")
    assert message in refused(tmp_path, PROGRAM, *run, *flags)


def test_other_runs(tmp_path, finished_run, finished_drnet, quantized_run):
    output = ("--output_dir", tmp_path / "run")
    line = refused(tmp_path, PROGRAM, "--run_dir", finished_drnet, *output)
    assert line.endswith(f"Received: {finished_drnet}, which is that of a DRNet.")
    line = refused(tmp_path, PROGRAM, "--run_dir", quantized_run, *output)
    assert line.endswith("must be a network in float32. Received: one in 8 bits already.")
    pruned = shutil.copytree(finished_run, tmp_path / "pruned")
    config = json.loads((pruned / "config.json").read_text())
    (pruned / "config.json").write_text(json.dumps(config | {"prune_to": 0.75}))
    line = refused(tmp_path, PROGRAM, "--run_dir", pruned, *output)
    assert "a network without zeros, which training would not keep" in line


def test_a_used_output_dir_is_refused_before_the_run_is_read(tmp_path, quantized_run):
    directories = ("--run_dir", tmp_path / "nowhere", "--output_dir", quantized_run)
    line = refused(quantized_run, PROGRAM, *directories)
    assert "`output_dir` must be new or empty for a new run. Received: " in line
    line = refused(quantized_run, PROGRAM, *directories, "--resume")
    assert "`output_dir` must hold an unfinished run to resume" in line
    assert "which is finished" in line
