import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from savedmodels.description import DESCRIPTION_FILE
from savedmodels.serving.exit_signatures import exit_signatures
from savedmodels.serving.model_folder import EXTRA_ASSETS
from tests.bounds import BFLOAT16, in_bits, relative_error, with_weights
from tests.tiny_networks import tiny_collaborating, tiny_ranet
from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.data.preprocessing import Preprocessing
from tf_adaptive.exits.calibration import inverse
from tf_adaptive.exits.early_exit import EarlyExit
from tf_adaptive.exits.evaluation import confidences_of_exits
from tf_adaptive.exits.stages import split_stages
from tf_adaptive.exits.thresholds import choose_exits
from tf_adaptive.reports.logits import collect_logits
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import load_finished_run, read_config

EXITS = 4
BATCHES = (0, 1, 65)


@pytest.fixture(scope="module")
def run(finished_run):
    """The run's network, its test images as they are, and its logits of them."""
    config, model = load_finished_run(finished_run)
    dataset = load_run_dataset(config)
    logits, _ = collect_logits(model, dataset.batches("test", 64))
    images = np.stack(dataset.pictures("test", range(dataset.sizes["test"])))
    return model, images, logits


@pytest.fixture(scope="module")
def description(served):
    return json.loads((served / "exits/1" / EXTRA_ASSETS / DESCRIPTION_FILE).read_text())


@pytest.fixture(scope="module")
def scaled(run, description):
    """The logits divided by the temperatures of their exits."""
    *_, logits = run
    return logits * inverse(description["temperatures"])[:, None, None]


@pytest.fixture(scope="module")
def signatures(models):
    return models.signatures("exits", 1)


def test_one_exit():
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 1))
    features = keras.layers.Conv2D(4, 3, activation="relu")(images)
    features = keras.layers.GlobalAveragePooling2D()(features)
    model = keras.Model(images, keras.layers.Dense(3)(features))
    preprocessing = Preprocessing(image_shape=(8, 8, 1), mean=[0], std=[1], center_crop=False)
    signatures = exit_signatures(EarlyExit(model, []), preprocessing, ["a", "b", "c"])
    assert signatures.keys() == {"serving_default", "serving_bytes", "all_exits", "stage_1"}
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    expected = np.asarray(model(pixels.astype("float32") / 255))
    for name, logits in (("all_exits", "exit_1"), ("stage_1", "logits")):
        function, _ = signatures[name]
        assert_close(np.asarray(function(tf.constant(pixels))[logits]), expected)
        assert function(tf.constant(pixels[:0]))[logits].shape == (0, 3)
    answer = signatures["serving_default"][0](tf.constant(pixels))
    assert answer["exit"].numpy().tolist() == [1] * 5
    assert answer["class"].numpy().tolist() == expected.argmax(-1).tolist()


def assert_close(actual, expected):
    """Equal within 1e-5 of the largest."""
    assert actual.shape == expected.shape
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max(initial=1)
    )


def test_names(signatures):
    stages = [f"stage_{number}" for number in range(1, EXITS + 1)]
    serving = [
        f"serving{encoded}{given}"
        for encoded in ("", "_bytes")
        for given in ("", "_thresholds", "_enabled_exits")
    ]
    serving[0] = "serving_default"
    assert sorted(signatures) == sorted(["all_exits", *serving, *stages])


@pytest.mark.parametrize("batch", BATCHES)
def test_all_exits_are_the_network(run, signatures, batch):
    _, images, logits = run
    answer = signatures["all_exits"](images=images[:batch])
    for number in range(1, EXITS + 1):
        assert_close(answer[f"exit_{number}"].numpy(), logits[number - 1, :batch])


@pytest.mark.parametrize("batch", BATCHES)
def test_stages_one_after_another_are_the_network(run, signatures, batch):
    model, images, logits = run
    given = {"images": tf.constant(images[:batch])}
    for number, stage in enumerate(split_stages(model), start=1):
        function = signatures[f"stage_{number}"]
        assert set(function.structured_input_signature[1]) == set(given)
        given = function(**given)
        assert_close(given.pop("logits").numpy(), logits[number - 1, :batch])
        assert list(map(len, given.values())) == [batch] * len(stage.state)
        assert set(given) == set(stage.state)


@pytest.mark.parametrize("batch", [*BATCHES, None])
def test_early_exit_is_the_offline_simulation(run, scaled, signatures, description, batch):
    _, images, _ = run
    logits = scaled[:, :batch]
    confidences = confidences_of_exits(logits) if batch != 0 else np.zeros((EXITS, 0), "float32")
    exits = choose_exits(confidences, description["thresholds"])
    if batch is None:
        assert len(set(exits)) > 1
    answer = signatures["serving_default"](images=images[:batch])
    np.testing.assert_array_equal(answer["exit"], exits)
    samples = np.arange(len(exits))
    chosen = logits[exits - 1, samples]
    assert_close(answer["probabilities"].numpy(), tf.nn.softmax(chosen).numpy())
    np.testing.assert_array_equal(answer["class"], chosen.argmax(axis=-1))
    assert_close(answer["confidence"].numpy(), confidences[exits - 1, samples])
    labels = [description["class_names"][index].encode() for index in chosen.argmax(axis=-1)]
    assert answer["label"].numpy().tolist() == labels


def test_each_image_leaves_at_its_own_thresholds(run, scaled, signatures):
    _, images, _ = run
    confidences = confidences_of_exits(scaled)
    lowest, highest = np.quantile(confidences[:-1], (0.1, 0.9), axis=1)
    own = np.random.default_rng(0).uniform(lowest, highest, (len(images), EXITS - 1))
    own = own.astype("float32")
    exits = [
        choose_exits(confidences[:, [sample]], own[sample])[0] for sample in range(len(images))
    ]
    assert len(set(exits)) == EXITS
    answer = signatures["serving_thresholds"](images=images, thresholds=own)
    np.testing.assert_array_equal(answer["exit"], exits)
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in images])
    again = signatures["serving_bytes_thresholds"](encoded=encoded, thresholds=own)
    for name, value in answer.items():
        np.testing.assert_array_equal(again[name], value)


def test_images_leave_at_the_exits_that_are_enabled(run, scaled, signatures, description):
    _, images, _ = run
    confidences = confidences_of_exits(scaled)
    for enabled in ([1, 3], [2], [], [4, 1]):
        thresholds = [
            threshold if number in enabled else None
            for number, threshold in enumerate(description["thresholds"], start=1)
        ]
        asked = np.broadcast_to(np.array(enabled, "int32"), (len(images), len(enabled)))
        answer = signatures["serving_enabled_exits"](
            images=tf.constant(images), enabled_exits=tf.constant(asked, tf.int32)
        )
        np.testing.assert_array_equal(answer["exit"], choose_exits(confidences, thresholds))
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in images[:9]])
    again = signatures["serving_bytes_enabled_exits"](
        encoded=encoded, enabled_exits=tf.constant(asked[:9])
    )
    np.testing.assert_array_equal(again["exit"], answer["exit"][:9])


@pytest.mark.parametrize("batch", BATCHES)
def test_files_are_answered_as_their_pixels_are(run, signatures, batch):
    _, images, _ = run
    expected = signatures["serving_default"](images=images[:batch])
    encoded = [tf.io.encode_png(image).numpy() for image in images[:batch]]
    answer = signatures["serving_bytes"](encoded=tf.constant(encoded, tf.string))
    for name, value in expected.items():
        np.testing.assert_array_equal(answer[name], value)


def test_larger_images_are_made_smaller(run, signatures):
    _, images, _ = run
    enlarged = images[:8].repeat(2, axis=1).repeat(2, axis=2)
    actual = signatures["all_exits"](images=enlarged)["exit_4"].numpy()
    expected = signatures["all_exits"](images=images[:8])["exit_4"].numpy()
    assert actual.shape == expected.shape
    # Antialiasing mixes in a little of the neighbours.
    assert np.corrcoef(actual.ravel(), expected.ravel())[0, 1] > 0.95


def test_bfloat16_is_the_network_in_bfloat16(run, models, finished_run):
    model, images, logits = run
    batches = load_run_dataset(read_config(finished_run)).batches("test", 65).take(1)
    signatures = models.signatures("exits", 2)
    folded = fold_batch_norm(model, dtype="bfloat16")
    expected, _ = collect_logits(folded, batches)
    answer = signatures["all_exits"](images=images[:65])
    for number in range(1, EXITS + 1):
        actual = answer[f"exit_{number}"].numpy()
        assert actual.dtype == np.float32
        print(
            "BF",
            relative_error(actual, expected[number - 1]),
            relative_error(actual, logits[number - 1, :65]),
        )
        assert relative_error(actual, expected[number - 1]) < BFLOAT16
        assert relative_error(actual, logits[number - 1, :65]) < BFLOAT16
    cut = with_weights(fold_batch_norm(model), lambda weight: in_bits(weight, 5))
    for actual, exit_logits in zip(collect_logits(cut, batches)[0], logits, strict=True):
        assert relative_error(actual, exit_logits[:65]) > BFLOAT16
    state = signatures["stage_1"](images=images[:1])
    assert {value.dtype for name, value in state.items() if name != "logits"} == {tf.bfloat16}


def bytes_of_constants(served, version):
    """Of the numbers in a SavedModel's graph, without what a single number or a shape takes."""
    content = (served / "exits" / version / "saved_model.pb").read_bytes()
    graph = saved_model_pb2.SavedModel.FromString(content)
    values = [
        node.attr["value"].tensor
        for function in graph.meta_graphs[0].graph_def.library.function
        for node in function.node_def
        if node.op == "Const"
    ]
    arrays = [tf.make_ndarray(value) for value in values if value.dtype != tf.string]
    return sum(array.nbytes for array in arrays if array.dtype.kind != "i")


def test_all_signatures_share_one_set_of_constants(served, run):
    model, _, _ = run
    parameters = sum(np.prod(weight.shape) for weight in fold_batch_norm(model).weights)
    assert 4 * parameters < bytes_of_constants(served, "1") < 4.1 * parameters
    stored = tf.train.list_variables(str(served / "exits/1/variables/variables"))
    assert [name for name, _ in stored] == ["_CHECKPOINTABLE_OBJECT_GRAPH"]


def test_constants_in_bfloat16_are_half_as_large(served):
    assert bytes_of_constants(served, "2") < 0.52 * bytes_of_constants(served, "1")


@pytest.mark.parametrize(
    ("build", "measure"), [(tiny_ranet, "entropy"), (tiny_collaborating, "margin")]
)
def test_other_networks_and_measures(tmp_path, build, measure):
    keras.utils.set_random_seed(0)
    model = build()
    side, channels = model.input_shape[1], model.input_shape[-1]
    names = [f"class {number}" for number in range(model.outputs[0].shape[-1])]
    prepare = Preprocessing(
        image_shape=(side, side, channels),
        mean=[0.5] * channels,
        std=[0.1] * channels,
        center_crop=False,
    )
    images = np.random.default_rng(0).integers(0, 256, (40, side, side, channels), np.uint8)
    logits, _ = collect_logits(model, [((images / 255 - 0.5) / 0.1, np.zeros(40))])
    confidences = confidences_of_exits(logits, measure)
    thresholds = np.float32(np.quantile(confidences[:-1], 0.7, axis=1))
    early_exit = EarlyExit(fold_batch_norm(model), thresholds, measure=measure)
    signatures = exit_signatures(early_exit, prepare, names)
    archive = keras.export.ExportArchive()
    for name, (function, input_signature) in signatures.items():
        archive.add_endpoint(name, function, input_signature=input_signature)
    archive.write_out(str(tmp_path), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path)).signatures
    answer = loaded["serving_default"](images=images)
    exits = choose_exits(confidences, thresholds)
    assert len(set(exits)) == len(model.outputs)
    np.testing.assert_array_equal(answer["exit"], exits)
    # The logarithm of the entropy widens rounding.
    chosen = confidences[exits - 1, np.arange(40)]
    np.testing.assert_allclose(answer["confidence"], chosen, atol=1e-4)
    given = {"images": tf.constant(images)}
    for number in range(1, len(model.outputs) + 1):
        given = loaded[f"stage_{number}"](**given)
        assert_close(given.pop("logits").numpy(), logits[number - 1])
    assert given == {}
