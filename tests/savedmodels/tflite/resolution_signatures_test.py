"""Converted DRNets: their numbers beside the Keras model's, and their folders."""

import json

import keras
import numpy as np
import pytest

from savedmodels.tflite.compiled import Compiler, Signature
from savedmodels.tflite.files import write_files
from savedmodels.tflite.flatbuffer_checks import operations, read_flatbuffer
from savedmodels.tflite.resolution_runner import ResolutionRunner
from savedmodels.tflite.resolution_signatures import resolution_signatures, with_batch_norm_apart
from tests.bounds import ROUNDING, apart, check_logits, half, with_weights
from tests.savedmodels.conftest import TEST_IMAGES
from tests.trainers.programs import rows
from tf_adaptive import DRNet, fold_batch_norm
from tf_adaptive.reports.logits import percent
from tf_adaptive.routing.dispatch import logits_at
from tf_adaptive.routing.evaluation import routed_collector

NAMES = ["classify_12", "classify_16", "classify_24", "predict_resolution"]


def test_every_resolution_and_the_choice_are_the_keras_model_s(drnet_folder, drnet):
    model, dataset, pictures = drnet
    images, _ = next(iter(dataset.batches("test", TEST_IMAGES)))
    precision = drnet_folder.name.removeprefix("drnet_").replace("parts", "float32")
    runner = ResolutionRunner(drnet_folder)
    received = np.stack([runner.all_resolutions(picture) for picture in pictures], axis=1)
    preferences = np.stack([runner.preferences(picture) for picture in pictures])
    expected = model.every_resolution()(images)
    choice = logits_at(model.predictor, images, model.predictor_resolution)
    np.testing.assert_array_equal(np.argmax(choice, axis=-1), model.choose(images))
    if precision == "float16":
        expected = [
            logits_at(with_weights(with_batch_norm_apart(branch), half), images, resolution)
            for branch, resolution in zip(model.branches, model.resolutions, strict=True)
        ]
        predictor = with_weights(fold_batch_norm(model.predictor), half)
        choice = logits_at(predictor, images, model.predictor_resolution)
    for ours, theirs in zip(received, expected, strict=True):
        check_logits(ours, np.array(theirs), precision=precision)
    check_logits(preferences, np.array(choice), precision=precision)
    # The numbers are those of networks that say something.
    assert np.ptp(received) > 1
    assert len(set(preferences.argmax(-1))) > 1


def test_the_folder(drnet_folder):
    single = ["network.tflite"]
    names = [f"{name}.tflite" for name in NAMES]
    written = sorted(path.name for path in drnet_folder.glob("*.tflite"))
    assert written == (names if drnet_folder.name == "drnet_parts" else single)
    description = json.loads((drnet_folder / "description.json").read_text())
    assert [part["resolution"] for part in description["branches"]] == [24, 16, 12]
    assert "thresholds" not in description
    signatures = [
        each.signatureKey.decode()
        for path in drnet_folder.glob("*.tflite")
        for each in read_flatbuffer(path.read_bytes()).signatureDefs
    ]
    assert sorted(signatures) == NAMES


def test_one_file_stores_shared_weights_once(
    drnet, drnet_parts, drnet_float32, drnet_float16, drnet_int8
):
    model, _, _ = drnet
    parts = sum(path.stat().st_size for path in drnet_parts.glob("*.tflite"))
    for folder, bytes_each in ((drnet_float32, 4), (drnet_float16, 2), (drnet_int8, 1)):
        model_bytes = bytes_each * model.count_params()
        content = (folder / "network.tflite").read_bytes()
        weights = sum(
            len(buffer.data)
            for buffer in read_flatbuffer(content).buffers
            if buffer.data is not None
        )
        assert 0.95 * model_bytes < weights < 1.05 * model_bytes
        # Three graphs more, and for 8 bits a scale for each channel.
        assert len(content) < weights + 150_000
    branches = sum(branch.count_params() for branch in model.branches)
    assert parts > 0.95 * 4 * (branches + model.predictor.count_params())


def test_operations(drnet_folder):
    built_in = {
        *("ADD", "CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "MEAN", "PAD", "RESIZE_BILINEAR")
    }
    more = {
        "drnet_parts": set(),
        "drnet_float32": {"DEPTHWISE_CONV_2D"},
        "drnet_float16": {"DEPTHWISE_CONV_2D", "DEQUANTIZE"},
        "drnet_int8": {"DEPTHWISE_CONV_2D", "DEQUANTIZE", "QUANTIZE"},
    }
    found = set()
    for path in drnet_folder.glob("*.tflite"):
        model = read_flatbuffer(path.read_bytes())
        for graph in model.subgraphs:
            found |= set(operations(model, graph))
            assert graph.tensors[graph.inputs[0]].shape.tolist() == [1, 24, 24, 1]
    assert found == built_in | more[drnet_folder.name]


def test_the_table_is_what_can_be_counted(drnet_int8, drnet):
    table = rows(drnet_int8 / "agreement.csv")
    model, dataset, _ = drnet
    positions = np.arange(TEST_IMAGES) * (dataset.sizes["test"] // TEST_IMAGES)
    logits, preferences, labels = routed_collector(model)(dataset.batches("test", 64))
    choices = preferences.argmax(axis=-1)
    logits, choices, labels = logits[:, positions], choices[positions], labels[positions]
    runner = ResolutionRunner(drnet_int8)
    pictures = dataset.pictures("test", positions)
    ours = np.stack([runner.all_resolutions(picture) for picture in pictures], axis=1)
    our_choices = np.array([runner.preferences(picture).argmax() for picture in pictures])
    expected = {
        str(resolution): (mine, reference, mine == reference)
        for resolution, mine, reference in zip(
            model.resolutions, ours.argmax(-1), logits.argmax(-1), strict=True
        )
    }
    every = np.arange(TEST_IMAGES)
    expected["chosen"] = (
        ours[our_choices, every].argmax(-1),
        logits[choices, every].argmax(-1),
        our_choices == choices,
    )
    assert [row["resolution"] for row in table] == [*expected]
    for row, (mine, reference, same) in zip(table, expected.values(), strict=True):
        assert float(row["accuracy_percent"]) == pytest.approx(percent(mine == labels), abs=1e-4)
        assert float(row["keras_accuracy_percent"]) == pytest.approx(
            percent(reference == labels), abs=1e-4
        )
        assert float(row["agreement_percent"]) == pytest.approx(percent(same), abs=1e-4)
        assert row["file"] == "network.tflite"


def test_a_network_of_bfloat16_is_converted_to_float32(drnet, tmp_path):
    model, dataset, _ = drnet
    arguments = {"resolutions": model.resolutions, "num_classes": 10}
    lower = DRNet.from_preset("drnet_resnet6_grey", dtype="mixed_bfloat16", **arguments)
    lower.set_weights(model.get_weights())
    signatures = resolution_signatures(lower, shared_weights=True)
    write_files(tmp_path, signatures, precision="float32", samples=None, single_file=True)
    compiled = Compiler().compiled(tmp_path / "network.tflite")
    images, _ = next(iter(dataset.batches("test", 3)))
    for resolution in model.resolutions:
        classify = Signature(compiled, f"classify_{resolution}")
        for image, logits in zip(images, model.branch_logits(images, resolution), strict=True):
            classify.inputs["images"].write(image.numpy()[np.newaxis])
            classify.run()
            np.testing.assert_allclose(classify.read("logits")[0], logits, atol=1e-5)


def test_batch_norms_apart_change_nothing():
    """A network of Keras's own layers, with batch norms over maps and over features."""
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 2), name="images")
    maps = keras.layers.Conv2D(4, 3, name="convolution")(images)
    maps = keras.layers.BatchNormalization(name="over_maps")(maps)
    maps = keras.layers.DepthwiseConv2D(3, name="depthwise")(keras.layers.ReLU()(maps))
    maps = keras.layers.BatchNormalization(name="over_more_maps", scale=False)(maps)
    features = keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(maps))
    features = keras.layers.BatchNormalization(name="over_features")(features)
    model = keras.Model(images, keras.layers.Dense(3)(features))
    generator = np.random.default_rng(0)
    model.set_weights([generator.uniform(0.5, 2, each.shape) for each in model.get_weights()])
    separate = with_batch_norm_apart(model)
    given = generator.standard_normal((3, 8, 8, 2)).astype("float32")
    assert apart(separate(given), model(given)) < ROUNDING
    kernels = [model.get_layer("convolution").kernel, model.get_layer("depthwise").kernel]
    kept = [separate.get_layer("convolution").kernel, separate.get_layer("depthwise").kernel]
    for kernel, its_copy in zip(kernels, kept, strict=True):
        np.testing.assert_array_equal(its_copy, kernel)
