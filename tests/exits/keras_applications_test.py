"""Exits on what Keras ships; `make test-large` runs the networks that take long to build."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import tf_adaptive as ta
from savedmodels.tflite.files import write_files, write_saved_model
from savedmodels.tflite.stage_signatures import stage_parts, stage_signatures
from tf_adaptive.evaluation import collect_logits
from tf_adaptive.policies import choose_exits, confidence_scores

SIZE = 64
# Networks with one of these take pixels.
PREPROCESSING = (keras.layers.Rescaling, keras.layers.Normalization)
WIDTHS = {"MobileNetV2": {"alpha": 0.35}}
NETWORKS = (
    "MobileNetV2",
    "MobileNetV3Small",
    pytest.param("EfficientNetB0", marks=pytest.mark.large),
)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """A network whose batch norms have statistics, and with three exits."""
    keras.utils.set_random_seed(0)
    backbone = getattr(keras.applications, request.param)(
        input_shape=(SIZE, SIZE, 3),
        weights=None,
        classes=7,
        classifier_activation=None,
        **WIDTHS.get(request.param, {}),
    )
    images = np.random.default_rng(0).uniform(0, 255, (64, SIZE, SIZE, 3)).astype("float32")
    if not any(isinstance(layer, PREPROCESSING) for layer in backbone.layers):
        images = images / 127.5 - 1
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    backbone(images, training=True)
    return backbone, ta.attach_exits(backbone, num_exits=3), images


def test_exits_stand_near_equal_shares_and_cost_little(network):
    backbone, attached, _ = network
    costs = ta.profile(attached)
    shares = [cost.macs / costs[-1].macs for cost in costs]
    np.testing.assert_allclose(shares, [1 / 3, 2 / 3, 1], atol=0.06)
    whole = ta.profile(backbone)[-1].macs
    assert (costs[-1].macs - whole) / whole < 0.03


def test_stages_early_exit_and_folding_answer_as_the_network(network):
    backbone, attached, images = network
    np.testing.assert_array_equal(attached(images[:4])[-1], backbone(images[:4]))
    logits, _ = collect_logits(attached, [(images, np.zeros(len(images)))])
    state = images
    for stage, expected in zip(ta.split_stages(attached), logits, strict=True):
        received, state = stage(state)
        np.testing.assert_allclose(received, expected, atol=1e-3 * np.ptp(expected))
    for ours, expected in zip(ta.fold_batch_norm(attached)(images), logits, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-3 * np.ptp(expected))
    scores = np.stack([np.asarray(confidence_scores(exit)) for exit in logits])
    # Between the two samples in the middle that are furthest apart, so that rounding moves nobody.
    thresholds = []
    for score in scores[:-1]:
        middle = np.sort(score)[24:41]
        widest = np.argmax(np.diff(middle))
        thresholds.append(middle[widest : widest + 2].mean())
    answer = ta.EarlyExit(attached, thresholds)(images)
    np.testing.assert_array_equal(answer["exit"], choose_exits(scores, thresholds))


@pytest.mark.large
def test_saved_stages_answer_as_the_network(network, tmp_path):
    _, attached, images = network
    stages = ta.split_stages(attached)
    write_saved_model(stage_signatures(stages), tmp_path)
    run = tf.saved_model.load(str(tmp_path)).signatures
    received = answers(stages, images[:4], lambda name, given: run[name](**given))
    for ours, expected in zip(received, attached(images[:4]), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-3 * np.ptp(expected))


@pytest.mark.large
@pytest.mark.parametrize("precision, tolerance", [("float32", 1e-3), ("float16", 0.02)])
def test_converted_stages_agree_with_the_network(network, precision, tolerance, tmp_path):
    _, attached, images = network
    stages = ta.split_stages(ta.fold_batch_norm(attached))
    signatures = stage_signatures(stages)
    files = write_files(tmp_path, signatures, precision=precision, samples=None, single_file=False)
    run = {
        name: Interpreter(str(tmp_path / file)).get_signature_runner(name)
        for name, file in files.items()
    }
    received = answers(stages, images[:8], lambda name, given: run[name](**given))
    # Not by classes: random weights make logits that are nearly equal.
    for ours, expected in zip(received, attached(images[:8]), strict=True):
        np.testing.assert_allclose(ours, expected, atol=tolerance * np.ptp(expected))


def answers(stages, images, call):
    """Logits of each exit from functions that take an image: exits × images × classes."""
    rows = []
    for image in images:
        state, row = {stages[0].takes[0]: image[None]}, []
        for stage, part in zip(stages, stage_parts(stages), strict=True):
            given = {name: tf.convert_to_tensor(state[name]) for name in stage.reads}
            output = call(part["signature"], given)
            state = {**state, **output}
            row.append(np.asarray(output[part["logits"]])[0])
        rows.append(row)
    return np.array(rows).swapaxes(0, 1)


# Mega-MACs at 224, by the papers' tables: Howard et al. 2017 (table 4), Sandler et al. 2018
# (table 4), Tan and Le 2019 (table 2), He et al. 2016 (table 1), Liu et al. 2022 (table 1).
PUBLISHED = (
    ("MobileNet", 569),
    ("MobileNetV2", 300),
    pytest.param("EfficientNetB0", 390, marks=pytest.mark.large),
    pytest.param("ResNet50", 3800, marks=pytest.mark.large),
    pytest.param("ConvNeXtTiny", 4500, marks=pytest.mark.large),
)


@pytest.mark.parametrize("name, published", PUBLISHED)
def test_macs_are_the_published_ones(name, published):
    model = getattr(keras.applications, name)(
        input_shape=(224, 224, 3), weights=None, classifier_activation=None
    )
    # Ours count one per element of an activation; the papers leave these out.
    activations = sum(np.prod(layer.output.shape[1:]) for layer in model.layers if is_relu(layer))
    counted = ta.profile(model)[-1].macs - activations
    np.testing.assert_allclose(counted / 1e6, published, rtol=0.02)


def is_relu(layer):
    return isinstance(layer, keras.layers.ReLU) or (
        isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.relu
    )
