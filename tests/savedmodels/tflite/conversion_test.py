"""Converted networks with exits: their numbers beside the Keras model's, and their folders."""

import json
import shutil

import numpy as np
import pytest

from savedmodels.tflite.conversion import convert_run
from savedmodels.tflite.exit_runner import StagedRunner
from savedmodels.tflite.flatbuffer_checks import operations, read_flatbuffer
from tests.bounds import (
    ROUNDING,
    apart,
    check_logits,
    half,
    in_bits,
    with_weights,
)
from tests.savedmodels.conftest import TEST_IMAGES
from tests.trainers.programs import rows
from tf_adaptive import MSDNet, fold_batch_norm
from tf_adaptive.exits.evaluation import cheapest_budget
from tf_adaptive.exits.thresholds import check_thresholds
from tf_adaptive.runs.tables import read_exit_report

NUM_EXITS = 4


def all_logits(folder, pictures):
    runner = StagedRunner(folder)
    return np.stack([runner.all_exits(picture) for picture in pictures], axis=1)


@pytest.fixture(scope="module")
def expected(network):
    """The logits `(exits, images, classes)` that each precision is to give."""
    # Those of 11 bits are computed with in float32 where TFLite runs on a CPU.
    halved = with_weights(fold_batch_norm(network.model, dtype="float32"), half)
    return {
        "float32": network.logits,
        "float16": np.stack(halved(network.images)),
        "int8": network.logits,
    }


def test_every_exit_gives_the_keras_model_s_logits(folder, network, expected):
    precision = folder.name.removesuffix("_stages")
    received = all_logits(folder, network.pictures)
    for ours, theirs in zip(received, expected[precision], strict=True):
        check_logits(ours, theirs, precision=precision)
    # The numbers are those of a network that says something.
    assert np.ptp(network.logits) > 5


@pytest.mark.parametrize("layer", ["first", "last"])
def test_a_layer_left_in_float32_is_out_of_the_bound(layer, network, expected):
    folded = fold_batch_norm(network.model, dtype="float32")
    kernels = [place for place, weight in enumerate(folded.get_weights()) if weight.ndim > 1]
    left = kernels[0 if layer == "first" else -1]
    weights = enumerate(folded.get_weights())
    folded.set_weights([weight if place == left else half(weight) for place, weight in weights])
    assert apart(folded(network.images)[-1], expected["float16"][-1]) > ROUNDING


@pytest.mark.parametrize("precision, bits", [("float32", 11), ("float16", 8), ("int8", 3)])
def test_weights_of_fewer_bits_are_out_of_the_bound(precision, bits, network, expected):
    cut = with_weights(
        fold_batch_norm(network.model, dtype="float32"), lambda weight: in_bits(weight, bits)
    )
    for ours, theirs in zip(cut(network.images), expected[precision], strict=True):
        with pytest.raises(AssertionError):
            check_logits(ours, theirs, precision=precision)


def test_lower_precisions_are_really_lower(float32, float16, int8, network):
    differences = [
        np.abs(all_logits(folder, network.pictures) - network.logits).mean()
        for folder in (float32, float16, int8)
    ]
    assert differences[0] < differences[1] / 10 < differences[2] / 100


def test_a_file_and_a_signature_for_each_stage(float32_stages):
    assert sorted(path.name for path in float32_stages.iterdir()) == [
        *("agreement.csv", "description.json", "run.py"),
        *(f"stage_{number}.tflite" for number in range(1, NUM_EXITS + 1)),
    ]
    for number in range(1, NUM_EXITS + 1):
        model = read_flatbuffer((float32_stages / f"stage_{number}.tflite").read_bytes())
        assert [each.signatureKey.decode() for each in model.signatureDefs] == [f"stage_{number}"]


@pytest.mark.parametrize("name", ["float32", "float16", "int8"])
def test_one_file_with_a_signature_for_each_stage(name, request):
    folder = request.getfixturevalue(name)
    names = ["agreement.csv", "description.json", "network.tflite", "run.py"]
    assert sorted(path.name for path in folder.iterdir()) == names
    model = read_flatbuffer((folder / "network.tflite").read_bytes())
    signatures = [each.signatureKey.decode() for each in model.signatureDefs]
    assert signatures == [f"stage_{number}" for number in range(1, NUM_EXITS + 1)]


def test_operations_are_the_few_that_the_network_is_made_of(folder):
    built_in = {"AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "FULLY_CONNECTED", "PAD"}
    # Float16 weights are widened where the hardware has no half precision; int8 takes float32.
    converted = {"float16": {"DEQUANTIZE"}, "int8": {"DEQUANTIZE", "QUANTIZE"}}
    found = set()
    for path in folder.glob("*.tflite"):
        model = read_flatbuffer(path.read_bytes())
        for graph in model.subgraphs:
            found |= set(operations(model, graph))
            assert list(graph.tensors[graph.inputs[0]].shape)[0] == 1
    assert found == built_in | converted.get(folder.name, set())


def test_sizes(float32_stages, float32, float16, int8):
    sizes = [
        sum(path.stat().st_size for path in folder.glob("*.tflite"))
        for folder in (float32_stages, float32, float16, int8)
    ]
    parts, whole, half, quarter = sizes
    assert whole < parts
    assert 0.45 < half / whole < 0.6
    assert 0.2 < quarter / whole < 0.45


def test_the_table_is_what_can_be_counted(folder, network):
    table = rows(folder / "agreement.csv")
    # The images that are compared on are spread over the test set.
    step = network.dataset.sizes["test"] // TEST_IMAGES
    positions = np.arange(TEST_IMAGES) * step
    labels = np.concatenate([labels for _, labels in network.dataset.batches("test", 64)])
    pictures = network.dataset.pictures("test", positions)
    classes = all_logits(folder, pictures).argmax(axis=-1)
    images = np.concatenate([images for images, _ in network.dataset.batches("test", 64)])
    reference = np.stack(network.model(images[positions], training=False)).argmax(axis=-1)
    for number, row in enumerate(table, start=1):
        ours, keras = classes[number - 1], reference[number - 1]
        assert row["exit"] == str(number)
        assert int(row["file_bytes"]) == (folder / row["file"]).stat().st_size
        assert row["images"] == str(TEST_IMAGES)
        right = [100 * np.mean(each == labels[positions]) for each in (ours, keras)]
        assert float(row["accuracy_percent"]) == pytest.approx(right[0], abs=1e-4)
        assert float(row["keras_accuracy_percent"]) == pytest.approx(right[1], abs=1e-4)
        agreement = 100 * np.mean(ours == keras)
        assert float(row["agreement_percent"]) == pytest.approx(agreement, abs=1e-4)
    assert len(table) == NUM_EXITS


def test_the_description_has_the_report_s_thresholds(finished_run, float32):
    description = json.loads((float32 / "description.json").read_text())
    rows = read_exit_report(finished_run, NUM_EXITS)
    wanted = rows.anytime[-1].calibration_accuracy_percent - 0.5
    # Chosen on the calibration images, told of the test images.
    expected = cheapest_budget(rows.budgets, wanted)
    described = check_thresholds(description["thresholds"], NUM_EXITS)
    np.testing.assert_array_equal(described, expected.thresholds)
    np.testing.assert_array_equal(np.float32(description["temperatures"]), rows.temperatures)
    assert description["measure"] == rows.measure
    assert description["accuracy_percent"] == expected.accuracy_percent
    assert description["mean_macs"] == expected.mean_macs
    assert description["exit_macs"] == [row.macs for row in rows.anytime]


def test_a_run_in_bfloat16_is_converted_to_float32(finished_run, network, tmp_path):
    run_dir = shutil.copytree(
        finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "tensorboard")
    )
    lower = MSDNet.from_config({**network.model.get_config(), "dtype": "mixed_bfloat16"})
    lower.set_weights(network.model.get_weights())
    lower.save(run_dir / "model.keras")
    convert_run(
        run_dir, tmp_path / "out", single_file=True, test_images=TEST_IMAGES, least_agreement=50
    )
    logits = all_logits(tmp_path / "out", network.pictures)
    for ours, theirs in zip(logits, network.logits, strict=True):
        check_logits(ours, theirs, precision="float32")
