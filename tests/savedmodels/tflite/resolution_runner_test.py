"""A DRNet one image at a time against its own routing, and what is left untouched."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from savedmodels.tflite.resolution_runner import ResolutionRunner
from tests.savedmodels.conftest import TEST_IMAGES
from tf_adaptive import InputError

RESOLUTIONS = (24, 16, 12)


@pytest.fixture
def copied(drnet_parts, tmp_path):
    """A folder with a file for each signature, to change."""
    return shutil.copytree(drnet_parts, tmp_path / "copied")


def rewrite(folder, **fields):
    path = folder / "description.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def branches_of(folder):
    return json.loads((folder / "description.json").read_text())["branches"]


@pytest.mark.parametrize("name", ["drnet_parts", "drnet_float32"])
def test_each_image_is_classified_at_the_resolution_chosen_for_it(name, request, drnet):
    model, dataset, pictures = drnet
    images, _ = next(iter(dataset.batches("test", TEST_IMAGES)))
    expected = model.route(images)
    probabilities = tf.nn.softmax(expected["logits"]).numpy()
    runner = ResolutionRunner(request.getfixturevalue(name))
    assert runner.resolutions == model.resolutions == RESOLUTIONS
    answers = [runner(picture) for picture in pictures]
    resolutions = [answer.resolution for answer in answers]
    np.testing.assert_array_equal(resolutions, np.array(RESOLUTIONS)[expected["choice"]])
    assert len(set(resolutions)) > 1
    for answer, its_probabilities in zip(answers, probabilities, strict=True):
        np.testing.assert_allclose(answer.probabilities, its_probabilities, atol=1e-5)
        assert answer.class_number == its_probabilities.argmax()
        assert answer.class_name == dataset.class_names[answer.class_number]
        assert answer.confidence == answer.probabilities.max()
        assert answer.exit is None
        assert answer.seconds > 0


def test_a_branch_is_loaded_by_the_first_image_that_needs_it(copied, drnet):
    _, _, pictures = drnet
    answers = [ResolutionRunner(copied)(picture) for picture in pictures[:20]]
    chosen = answers[0].resolution
    same, others = [], []
    for picture, answer in zip(pictures, answers, strict=False):
        (same if answer.resolution == chosen else others).append(picture)
    for resolution in set(RESOLUTIONS) - {chosen}:
        (copied / f"classify_{resolution}.tflite").unlink()
    runner = ResolutionRunner(copied)
    assert runner.loaded_resolutions == ()
    assert {runner(picture).resolution for picture in same} == {chosen}
    assert runner.loaded_resolutions == (chosen,)
    with pytest.raises(InputError, match="must have all its files. Missing: .*classify_"):
        runner(others[0])


def test_an_image_s_answer_does_not_depend_on_those_before(drnet_int8, drnet):
    _, _, pictures = drnet
    runner = ResolutionRunner(drnet_int8)
    forwards = [runner(picture) for picture in pictures]
    backwards = [runner(picture) for picture in pictures[::-1]][::-1]
    for first, second in zip(forwards, backwards, strict=True):
        assert first.resolution == second.resolution
        np.testing.assert_array_equal(first.probabilities, second.probabilities)


def test_refuses_another_image(drnet_float32):
    expected = r"`image` must be a uint8 array of the shape \(24, 24, 1\)\. Received: uint8 of the"
    with pytest.raises(InputError, match=expected):
        ResolutionRunner(drnet_float32)(np.zeros((28, 28, 1), "uint8"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"predictor": None}, "which has no 'predictor'"),
        ({"predictor": {}}, "must say of each part 'signature', 'file', 'logits'. Received: "),
        ({"branches": []}, "must say of each part .*, 'resolution'. Received: .* with None"),
    ],
)
def test_refuses_a_description_without_something(copied, fields, message):
    rewrite(copied, **fields)
    with pytest.raises(InputError, match=message):
        ResolutionRunner(copied)


def test_refuses_a_branch_without_its_resolution(copied):
    branches = branches_of(copied)
    del branches[1]["resolution"]
    rewrite(copied, branches=branches)
    with pytest.raises(InputError, match="'resolution'. Received: .*classify_16"):
        ResolutionRunner(copied)


@pytest.mark.parametrize(
    ("resolution", "message"),
    [(True, "'resolution'. Received: "), (0, "`resolution` in .*json must")],
)
def test_refuses_a_resolution_that_is_none(copied, resolution, message):
    branches = branches_of(copied)
    branches[1]["resolution"] = resolution
    rewrite(copied, branches=branches)
    with pytest.raises(InputError, match=message):
        ResolutionRunner(copied)


def test_refuses_a_branch_of_another_network(copied, float32_stages, drnet):
    _, _, pictures = drnet
    shutil.copy(float32_stages / "stage_2.tflite", copied)
    stage = {"signature": "stage_2", "file": "stage_2.tflite", "logits": "logits"}
    branches = [branch | stage for branch in branches_of(copied)]
    rewrite(copied, branches=branches, files=None)
    with pytest.raises(InputError, match="must be those of one network. Received: 'stage_2'"):
        ResolutionRunner(copied)(pictures[0])


def test_refuses_fewer_branches_than_the_predictor_chooses_from(copied):
    rewrite(copied, branches=branches_of(copied)[:2])
    with pytest.raises(InputError, match="a branch for each of the predictor's 3 choices.* 2"):
        ResolutionRunner(copied)
