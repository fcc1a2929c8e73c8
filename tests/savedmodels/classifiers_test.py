"""What is said of a file, against the Keras model on the same picture."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from savedmodels.classifiers import load_classifier
from tf_adaptive.errors import InputError
from tf_adaptive.exits.evaluation import confidences_of_exits
from tf_adaptive.exits.thresholds import choose_exits

IMAGES = 20


def png(picture):
    return tf.io.encode_png(picture).numpy()


def half_way(ordered):
    """Between two confidences, so that rounding moves nobody."""
    return ordered[len(ordered) // 2 - 1 :][:2].mean()


@pytest.fixture(scope="module")
def thresholds(network):
    """Those at which images leave at more exits than two."""
    confidences = confidences_of_exits(network.scaled[:, :IMAGES])
    return [float(half_way(np.sort(of_exit))) for of_exit in confidences[:-1]]


@pytest.fixture(params=["SavedModel", "TFLite"])
def exits(request, served, float32):
    """The folder of the network with exits."""
    return {"SavedModel": served / "exits" / "1", "TFLite": float32}[request.param]


def assert_answers(classify, pictures, probabilities, **left_at):
    ((kind, numbers),) = left_at.items()
    assert len(set(numbers)) > 1
    for picture, expected, number in zip(pictures, probabilities, numbers, strict=True):
        answer = classify(png(picture))
        assert set(answer) == {"class", "label", "confidence", kind}
        assert answer["class"] == expected.argmax()
        assert answer["label"] == classify.class_names[expected.argmax()]
        assert answer["confidence"] == pytest.approx(expected.max(), abs=1e-5)
        assert answer[kind] == number


def test_exits_are_those_of_the_keras_model(exits, network, thresholds):
    numbers = choose_exits(confidences_of_exits(network.scaled[:, :IMAGES]), thresholds)
    assert len(set(numbers)) > 2
    logits = network.scaled[numbers - 1, np.arange(IMAGES)]
    classify = load_classifier(exits, thresholds=thresholds)
    assert classify.class_names == network.dataset.class_names
    assert_answers(classify, network.pictures[:IMAGES], tf.nn.softmax(logits).numpy(), exit=numbers)


def test_a_network_s_own_thresholds(exits, network):
    files = sorted(exits.rglob("description.json"))
    thresholds = json.loads(files[0].read_text())["thresholds"]
    ours, given = load_classifier(exits), load_classifier(exits, thresholds=thresholds)
    for picture in network.pictures[:5]:
        assert ours(png(picture)) == given(png(picture))


@pytest.fixture(params=["SavedModel", "TFLite"])
def resolutions(request, served, drnet_float32):
    """The folder of the DRNet."""
    return {"SavedModel": served / "drnet", "TFLite": drnet_float32}[request.param]


def test_resolutions_are_those_of_the_keras_model(resolutions, drnet):
    model, dataset, pictures = drnet
    expected = model.route(next(iter(dataset.batches("test", IMAGES)))[0])
    assert_answers(
        load_classifier(resolutions),
        pictures[:IMAGES],
        tf.nn.softmax(expected["logits"]).numpy(),
        resolution=np.array(model.resolutions)[expected["choice"]],
    )
    with pytest.raises(InputError, match=r"not be given for a DRNet.* thresholds=\[0.5, 0.5\]"):
        load_classifier(resolutions, thresholds=[0.5, 0.5])


def test_both_kinds_see_the_same_of_any_picture(served, float32):
    thresholds = [0.9, 0.9, 0.9]
    first, second = (
        load_classifier(folder, thresholds=thresholds) for folder in (served / "exits/1", float32)
    )
    for height, width, channels in ((60, 40, 3), (9, 50, 1), (1, 1, 3)):
        noise = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
        for file in (png(noise), tf.io.encode_jpeg(noise).numpy()):
            answer = first(file)
            confidence = pytest.approx(answer["confidence"], abs=1e-5)
            assert second(file) == answer | {"confidence": confidence}


def test_files_that_are_refused(exits, capfd):
    classify = load_classifier(exits)
    good = png(np.zeros((9, 9, 1), np.uint8))
    for file, reason in (
        (
            b"",
            "JPEG, PNG or WebP file. Received: something else, of this many bytes: 0",
        ),
        (
            good[:-20],
            "whole BMP, GIF, JPEG, PNG or WebP file. Received: (Invalid|a damaged) PNG",
        ),
        (png(np.zeros((6000, 6000, 1), np.uint8)), "from 1 to 33554432 pixels.* 6000 6000"),
    ):
        with pytest.raises(InputError, match=reason) as refused:
            classify(file)
        assert not set("\n{}[]") & set(str(refused.value))
    # Nor do the decoders themselves write anything.
    assert capfd.readouterr().err == ""
    assert classify(good)["exit"] in (1, 2, 3, 4)


@pytest.mark.parametrize("thresholds", [[0.5], [0.5, 0.5, 2]])
def test_thresholds_that_do_not_fit(exits, thresholds):
    with pytest.raises(InputError, match="`thresholds` must"):
        load_classifier(exits, thresholds=thresholds)


def test_which_model_a_folder_stands_for(served, models, tmp_path):
    for version, copied in (("2", "2"), ("10", "1")):
        shutil.copytree(served / "exits" / copied, tmp_path / "models/only" / version)
    (tmp_path / "models/models.config").touch()
    draw = np.random.default_rng(0)
    answer = {
        version: models.signatures("exits", copied)["serving_bytes"]
        for version, copied in ((2, 2), (10, 1))
    }
    # Until the versions' thresholds part a picture.
    for _ in range(500):
        picture = png(draw.integers(256, size=(9, 9, 1)).astype(np.uint8))
        confidences = {
            version: answer[version](encoded=[picture])["confidence"] for version in answer
        }
        if confidences[2] != confidences[10]:
            break
    assert confidences[2] != confidences[10]
    for folder, version in (("models", 10), ("models/only", 10), ("models/only/2", 2)):
        answered = load_classifier(tmp_path / folder)(picture)
        assert answered["confidence"] == confidences[version]


def test_folders_that_are_no_model(served, finished_run, float32, tmp_path):
    with pytest.raises(InputError, match="must name one model. Received: .*has drnet, exits"):
        load_classifier(served)
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "missing", finished_run):
        with pytest.raises(InputError, match=f"or savedmodels.convert_tflite wrote. .*{folder}"):
            load_classifier(folder)


def test_damaged_models(served, float32_stages, tmp_path):
    version = shutil.copytree(served / "exits/1", tmp_path / "version")
    (version / "variables/variables.data-00000-of-00001").write_bytes(b"half")
    with pytest.raises(InputError, match="version, which cannot be loaded; export it again"):
        load_classifier(version)
    # In the middle of a weight.
    content = bytearray((version / "saved_model.pb").read_bytes())
    content[content.index(b"Const") + len(content) // 2] ^= 1
    (version / "saved_model.pb").write_bytes(content)
    with pytest.raises(InputError, match="as they were written: .*saved_model.pb, whose SHA-256"):
        load_classifier(version)
    shutil.rmtree(version / "assets.extra")
    with pytest.raises(InputError, match="which has no description.json"):
        load_classifier(version)
    # Before a picture comes that needs it.
    converted = shutil.copytree(float32_stages, tmp_path / "converted")
    (converted / "stage_4.tflite").unlink()
    with pytest.raises(InputError, match="must have all its files. Missing: .*stage_4.tflite"):
        load_classifier(converted)
