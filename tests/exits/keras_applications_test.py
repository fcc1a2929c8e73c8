"""Exits on what Keras ships; `make test-large` runs the networks that take long to build."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import tf_adaptive as ta
from savedmodels.serving.exit_signatures import exit_signatures
from savedmodels.tflite.exit_signatures import stage_parts, stage_samples, stage_signatures
from savedmodels.tflite.files import converted, write_files, write_saved_model
from tests.bounds import apart, relative_error
from tf_adaptive.data.preprocessing import Preprocessing
from tf_adaptive.exits.thresholds import choose_exits, confidence_scores

# Mega-MACs and the size of the images they are for, by Simonyan and Zisserman 2014's VGG-16 as
# torchvision counts it; He et al. 2016 (table 1); TensorFlow's MobileNet page (ResNet-50 V2 and
# MobileNetV3Large); Huang et al. 2017's DenseNet-121 as imgclsmob counts it; Zoph et al. 2018
# (table 2: both Inceptions, Xception, NASNet); Howard et al. 2017 (table 4), 2019 (table 3);
# Sandler et al. 2018 (table 4); Tan and Le 2019 (table 2) and 2021's page; Liu et al. 2022.
PUBLISHED = {
    "VGG16": (15470, 224),
    "ResNet50": (3800, 224),
    "ResNet50V2": (3500, 224),
    "DenseNet121": (2872, 224),
    "InceptionV3": (5720, 299),
    "InceptionResNetV2": (13200, 299),
    "Xception": (8380, 299),
    "MobileNet": (569, 224),
    "MobileNetV2": (300, 224),
    "MobileNetV3Small": (56, 224),
    "MobileNetV3Large": (217, 224),
    "EfficientNetB0": (390, 224),
    "EfficientNetV2B0": (720, 224),
    "NASNetMobile": (564, 224),
    "ConvNeXtTiny": (4500, 224),
}
# Networks with one of these take pixels.
PREPROCESSING = (keras.layers.Rescaling, keras.layers.Normalization)
SMALL = ("MobileNetV2", "MobileNetV3Small")
WIDTHS = {"MobileNetV2": {"alpha": 0.35}}
# The least that Keras lets them have; all others get 64 pixels.
SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}
CALIBRATION = 40
# Of the spread of an exit's logits: in networks of random weights rounding grows from layer to
# layer, in MobileNetV3 to 3e-4.
ROUNDING = 1e-3


def large_unless_small(name, *values):
    return pytest.param(name, *values, marks=[] if name in SMALL else pytest.mark.large)


class Attached:
    """A network with three exits, whose batch norms have statistics.

    Attributes:
        backbone, model: without and with exits.
        preprocessing: from pixels to what they take.
        pixels: uint8 `(64, height, width, 3)`.
        images: those, ready.
        logits: three times `(64, classes)`.
    """

    def __init__(self, name):
        keras.utils.set_random_seed(0)
        size = SIZES.get(name, 64)
        self.backbone = getattr(keras.applications, name)(
            input_shape=(size, size, 3),
            weights=None,
            classes=7,
            classifier_activation=None,
            **WIDTHS.get(name, {}),
        )
        takes_pixels = any(isinstance(layer, PREPROCESSING) for layer in self.backbone.layers)
        self.preprocessing = Preprocessing(
            image_shape=(size, size, 3),
            mean=[0.0 if takes_pixels else 0.5] * 3,
            std=[1 / 255 if takes_pixels else 0.5] * 3,
            center_crop=False,
        )
        self.pixels = np.random.default_rng(0).integers(0, 256, (64, size, size, 3), np.uint8)
        self.images = np.asarray(self.preprocessing.images(tf.constant(self.pixels)))
        for layer in self.backbone.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
        self.backbone(self.images, training=True)
        self.model = ta.attach_exits(self.backbone, num_exits=3)
        self.logits = [np.asarray(exit) for exit in self.model(self.images, training=False)]

    def thresholds_and_exits(self):
        """Thresholds at which about half leave, and where each image does by its logits."""
        scores = np.stack([np.asarray(confidence_scores(exit)) for exit in self.logits])
        thresholds = []
        for score in scores[:-1]:
            # Between the two in the middle that are furthest apart, so that rounding moves nobody.
            middle = np.sort(score)[24:41]
            widest = np.argmax(np.diff(middle))
            thresholds.append(middle[widest : widest + 2].mean())
        return thresholds, choose_exits(scores, thresholds)


@pytest.fixture(scope="module", params=[large_unless_small(name) for name in PUBLISHED])
def network(request):
    return Attached(request.param)


def assert_same(received, expected):
    for ours, theirs in zip(received, expected, strict=True):
        assert apart(np.asarray(ours), theirs) < ROUNDING


def test_exits_stand_near_equal_shares_and_cost_little(network):
    costs = ta.profile(network.model)
    shares = [cost.macs / costs[-1].macs for cost in costs]
    np.testing.assert_allclose(shares, [1 / 3, 2 / 3, 1], atol=0.06)
    whole = ta.profile(network.backbone)[-1].macs
    for head in ("linear", "conv"):
        attached = ta.attach_exits(network.backbone, num_exits=4, head=head)
        assert (ta.profile(attached)[-1].macs - whole) / whole < 0.03


def test_stages_early_exit_and_folding_answer_as_the_network(network):
    last = network.model(network.images[:4])[-1]
    np.testing.assert_array_equal(last, network.backbone(network.images[:4]))
    received, state = [], network.images
    for stage in ta.split_stages(network.model):
        logits, state = stage(state)
        received.append(logits)
    assert_same(received, network.logits)
    assert_same(ta.fold_batch_norm(network.model)(network.images), network.logits)
    thresholds, exits = network.thresholds_and_exits()
    answer = ta.EarlyExit(network.model, thresholds)(network.images)
    np.testing.assert_array_equal(answer["exit"], exits)


@pytest.mark.large
def test_the_saved_network_answers_as_it_does(network, tmp_path):
    thresholds, exits = network.thresholds_and_exits()
    archive = keras.export.ExportArchive()
    for name, (function, signature) in exit_signatures(
        ta.fold_batch_norm(network.model),
        network.preprocessing,
        thresholds,
        list("abcdefg"),
        measure="max_probability",
    ).items():
        archive.add_endpoint(name, function, input_signature=signature)
    archive.write_out(str(tmp_path), verbose=False)
    signatures = tf.saved_model.load(str(tmp_path)).signatures
    pixels = tf.constant(network.pixels)
    answer = signatures["all_exits"](images=pixels)
    assert_same([answer[f"exit_{number}"] for number in (1, 2, 3)], network.logits)
    received, given = [], {"images": pixels}
    for number in (1, 2, 3):
        given = signatures[f"stage_{number}"](**given)
        received.append(given.pop("logits"))
    assert_same(received, network.logits)
    np.testing.assert_array_equal(signatures["serving_default"](images=pixels)["exit"], exits)


@pytest.mark.large
def test_converted_stages_answer_as_the_network(network, tmp_path):
    folded, images = ta.fold_batch_norm(network.model), network.images[:4]
    received = answers_of_files(folded, images, tmp_path, precision="float32")
    assert_same(received, [exit[:4] for exit in network.logits])


@pytest.mark.large
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_fewer_bits_of_stages_lose_no_more_than_those_of_the_whole(network, precision, tmp_path):
    folded = ta.fold_batch_norm(network.model)
    samples, images = np.split(network.images, [CALIBRATION])
    calibration = {"stages": None, "whole": None}
    if precision == "int8":
        calibration = {
            "stages": stage_samples(ta.split_stages(folded), samples),
            "whole": {"whole": [{"images": image[None]} for image in samples]},
        }
    ours = answers_of_files(
        folded, images, tmp_path, precision=precision, samples=calibration["stages"]
    )

    @tf.function(input_signature=[tf.TensorSpec((1, *images.shape[1:]), tf.float32, "images")])
    def whole(images):
        return {f"exit_{number}": exit for number, exit in enumerate(folded(images), start=1)}

    write_saved_model({"whole": whole}, tmp_path / "whole")
    content = converted(
        tmp_path / "whole", ["whole"], precision=precision, samples=calibration["whole"]
    )
    run = Interpreter(model_content=content).get_signature_runner("whole")
    rows = [run(images=image[None]) for image in images]
    for number, exit in enumerate(ours, start=1):
        theirs = np.concatenate([row[f"exit_{number}"] for row in rows])
        expected = network.logits[number - 1][CALIBRATION:]
        # How much fewer bits lose is a matter of the weights, and random ones lose much. Equal but
        # for the ranges of int8, which each stage measures on its own.
        assert relative_error(exit, expected) < 1.2 * relative_error(theirs, expected) + 0.01


def answers_of_files(model, images, folder, *, precision, samples=None):
    """Logits of the TFLite files of a model's stages: exits × images × classes."""
    stages = ta.split_stages(model)
    files = write_files(
        folder, stage_signatures(stages), precision=precision, samples=samples, single_file=False
    )
    run = {
        name: Interpreter(str(folder / file)).get_signature_runner(name)
        for name, file in files.items()
    }
    rows = []
    for image in images:
        state, row = {stages[0].takes[0]: image[None]}, []
        for stage, part in zip(stages, stage_parts(stages), strict=True):
            output = run[part["signature"]](**{name: state[name] for name in stage.reads})
            state = {**state, **output}
            row.append(output[part["logits"]][0])
        rows.append(row)
    return np.array(rows).swapaxes(0, 1)


@pytest.mark.parametrize("name", [large_unless_small(name) for name in PUBLISHED])
def test_macs_are_the_published_ones(name):
    published, size = PUBLISHED[name]
    model = getattr(keras.applications, name)(
        input_shape=(size, size, 3), weights=None, classifier_activation=None
    )
    # Ours count one per element of an activation; the papers leave these out.
    activations = sum(
        np.prod(layer.output.shape[1:])
        for layer in model.layers
        if isinstance(layer, (keras.layers.ReLU, keras.layers.Activation))
    )
    counted = ta.profile(model)[-1].macs - activations
    np.testing.assert_allclose(counted / 1e6, published, rtol=0.02)
