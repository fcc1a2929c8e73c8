"""Early exit one image at a time against the offline simulation, and what is left untouched."""

import json
import shutil

import numpy as np
import pytest

from savedmodels.tflite.conversion import convert_run
from savedmodels.tflite.exit_runner import StagedRunner
from tf_adaptive import InputError
from tf_adaptive.exits.calibration import inverse
from tf_adaptive.exits.evaluation import confidences_of_exits
from tf_adaptive.exits.thresholds import (
    MEASURES,
    check_thresholds,
    choose_exits,
    confidence_scores,
)

NUM_EXITS = 4


@pytest.fixture
def copied(float32_stages, tmp_path):
    """A folder with a file for each stage, to change."""
    return shutil.copytree(float32_stages, tmp_path / "copied")


def rewrite(folder, **fields):
    path = folder / "description.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def scaled(folder, logits):
    """Logits divided by the temperatures of their exits."""
    temperatures = json.loads((folder / "description.json").read_text())["temperatures"]
    return logits * inverse(temperatures)[:, None, None]


def half_leave(confidences):
    """Thresholds half way between two confidences, so that rounding moves nobody."""
    thresholds = []
    for of_exit in confidences[:-1]:
        ordered = np.sort(of_exit)
        middle = len(ordered) // 2 + np.diff(ordered[len(ordered) // 2 :]).argmax()
        thresholds.append(ordered[middle : middle + 2].mean())
    return thresholds


@pytest.mark.parametrize("measure", MEASURES)
def test_early_exit_is_the_simulation_on_the_keras_model_s_logits(copied, network, measure):
    rewrite(copied, measure=measure)
    of_network = network.scaled
    confidences = confidences_of_exits(of_network, measure)
    thresholds = half_leave(confidences)
    exits = choose_exits(confidences, thresholds)
    assert len(set(exits)) > 1
    runner = StagedRunner(copied, thresholds=thresholds)
    answers = [runner(picture) for picture in network.pictures]
    np.testing.assert_array_equal([answer.exit for answer in answers], exits)
    logits = of_network[exits - 1, np.arange(len(exits))].astype("float64")
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    for answer, expected in zip(answers, probabilities, strict=True):
        np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
        assert answer.class_number == expected.argmax()
        assert answer.class_name == network.dataset.class_names[answer.class_number]
        assert answer.seconds > 0
        assert answer.resolution is None


@pytest.mark.parametrize("measure", MEASURES)
def test_confidence_is_that_of_the_policies(copied, network, measure):
    rewrite(copied, measure=measure)
    runner = StagedRunner(copied, thresholds=[0, 0, 0])
    logits = np.stack([runner.all_exits(picture) for picture in network.pictures], axis=1)
    logits = scaled(copied, logits)[0]
    confidences = [runner(picture).confidence for picture in network.pictures]
    np.testing.assert_allclose(confidences, confidence_scores(logits, measure), atol=1e-6)
    assert np.ptp(confidences) > 0.1


def test_early_exit_is_the_simulation_on_its_own_logits(folder, network):
    runner = StagedRunner(folder)
    logits = np.stack([runner.all_exits(picture) for picture in network.pictures], axis=1)
    confidences = confidences_of_exits(scaled(folder, logits))
    thresholds = half_leave(confidences)
    runner = StagedRunner(folder, thresholds=thresholds)
    exits = [runner(picture).exit for picture in network.pictures]
    np.testing.assert_array_equal(exits, choose_exits(confidences, thresholds))


def test_the_folder_s_thresholds_are_the_default(float32):
    description = json.loads((float32 / "description.json").read_text())
    expected = check_thresholds(description["thresholds"], NUM_EXITS)
    np.testing.assert_array_equal(StagedRunner(float32).thresholds, expected)


def test_later_stages_are_not_loaded_for_easy_images(copied, network):
    for number in range(2, NUM_EXITS + 1):
        (copied / f"stage_{number}.tflite").unlink()
    runner = StagedRunner(copied, thresholds=[0, 0, 0])
    assert {runner(picture).exit for picture in network.pictures} == {1}
    assert runner.loaded_stages == 1
    with pytest.raises(InputError, match="must have all its files. Missing: .*stage_2.tflite"):
        StagedRunner(copied, thresholds=[1, 1, 1])(network.pictures[0])


def test_each_stage_is_loaded_by_the_first_image_that_needs_it(float32_stages, network):
    runner = StagedRunner(float32_stages, thresholds=[1, 0, 0])
    assert runner.loaded_stages == 1
    assert runner(network.pictures[0]).exit == 2
    assert runner.loaded_stages == 2
    runner.all_exits(network.pictures[0])
    assert runner.loaded_stages == NUM_EXITS


def test_later_signatures_of_one_file_are_not_made_for_easy_images(float32, network):
    runner = StagedRunner(float32, thresholds=[0, 0, 0])
    runner(network.pictures[0])
    assert runner.loaded_stages == 1


def test_an_image_s_answer_does_not_depend_on_those_before(float32_stages, network):
    runner = StagedRunner(
        float32_stages,
        thresholds=half_leave(confidences_of_exits(network.scaled)),
    )
    forwards = [runner(picture) for picture in network.pictures]
    backwards = [runner(picture) for picture in network.pictures[::-1]][::-1]
    for first, second in zip(forwards, backwards, strict=True):
        assert first.exit == second.exit
        np.testing.assert_array_equal(first.probabilities, second.probabilities)


@pytest.mark.parametrize(
    ("image", "received"),
    [
        (np.zeros((28, 28, 1), "uint8"), r"uint8 of the shape \(28, 28, 1\)"),
        (np.zeros((24, 24, 3), "uint8"), r"uint8 of the shape \(24, 24, 3\)"),
        (np.zeros((1, 24, 24, 1), "uint8"), r"uint8 of the shape \(1, 24, 24, 1\)"),
        (np.zeros((24, 24, 1), "float32"), r"float32 of the shape \(24, 24, 1\)"),
        ([[1]], r"list of the shape \(1, 1\)"),
    ],
)
def test_refuses_other_images(float32, image, received):
    expected = rf"`image` must be a uint8 array of the shape \(24, 24, 1\)\. Received: {received}"
    with pytest.raises(InputError, match=expected):
        StagedRunner(float32)(image)


def test_an_exit_at_which_nothing_is_to_leave(float32_stages, network):
    runner = StagedRunner(float32_stages, thresholds=[None, 0, 1])
    assert {runner(picture).exit for picture in network.pictures} == {2}


def test_exits_that_are_off_have_no_file(finished_run, network, tmp_path):
    convert_run(finished_run, tmp_path / "out", thresholds=[None, 0.3, None], test_images=20)
    assert {path.name for path in (tmp_path / "out").glob("*.tflite")} == {
        *("stage_1.tflite", "stage_2.tflite")
    }
    runner = StagedRunner(tmp_path / "out")
    assert (runner.num_exits, runner.enabled_exits) == (NUM_EXITS, (2, 4))
    exits = choose_exits(confidences_of_exits(network.scaled), [None, 0.3, None])
    np.testing.assert_array_equal([runner(picture).exit for picture in network.pictures], exits)
    assert len(set(exits)) == 2
    table = (tmp_path / "out" / "agreement.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table] == ["exit", "2", "4"]
    with pytest.raises(InputError, match="None for an exit that is off .* 0.5 for exit 1"):
        StagedRunner(tmp_path / "out", thresholds=[0.5, 0.5, None])


def test_refuses_bad_thresholds(float32):
    with pytest.raises(InputError, match="`thresholds` must hold 3 numbers"):
        StagedRunner(float32, thresholds=[0.5])
    with pytest.raises(InputError, match=r"`thresholds` must be numbers in \[0, 1\]"):
        StagedRunner(float32, thresholds=[0.5, 2, 0.5])


def test_refuses_bad_arguments(float32):
    with pytest.raises(InputError, match="Did you mean 'gpu'"):
        StagedRunner(float32, accelerator="gpus")
    with pytest.raises(InputError, match="`threads` must be a whole number from 1 on"):
        StagedRunner(float32, threads=0)


def test_refuses_a_folder_that_is_not_ours(tmp_path):
    with pytest.raises(InputError, match="savedmodels.convert_tflite wrote. Received: "):
        StagedRunner(tmp_path)


def test_refuses_a_description_without_stages(copied):
    rewrite(copied, stages=None)
    with pytest.raises(InputError, match="which has no 'stages'"):
        StagedRunner(copied)


@pytest.mark.parametrize(
    "stages", [[], ["stage_1"], [{"signature": "stage_1", "file": "network.tflite"}]]
)
def test_refuses_stages_without_their_names(copied, stages):
    rewrite(copied, stages=stages)
    expected = "must say of each part 'signature', 'file', 'logits'. Received: .*, with "
    with pytest.raises(InputError, match=expected):
        StagedRunner(copied)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"thresholds": [0.5]}, "`thresholds` in .*description.json must be 3 numbers"),
        (
            {"enabled_exits": [2, 4]},
            "`enabled_exits` in .*must be an exit for each of the 4 stages",
        ),
        ({"class_names": ["a", "b"]}, "`class_names` in .*description.json must be 10 names"),
        ({"measure": "certainty"}, "`measure` in .*description.json must be one of max_prob"),
    ],
)
def test_refuses_a_description_of_another_network(copied, fields, message):
    rewrite(copied, **fields)
    with pytest.raises(InputError, match=message):
        StagedRunner(copied, thresholds=[0.5, 0.5, 0.5])


def test_refuses_logits_that_a_file_does_not_give(copied):
    stages = json.loads((copied / "description.json").read_text())["stages"]
    rewrite(copied, stages=[stages[0] | {"logits": "answers"}, *stages[1:]])
    with pytest.raises(InputError, match="Received: 'stage_1' without the output 'answers'"):
        StagedRunner(copied)


def test_refuses_a_file_that_is_no_tflite_model(copied, network):
    (copied / "stage_2.tflite").write_bytes(b"photographs" * 100)
    runner = StagedRunner(copied)
    with pytest.raises(InputError, match="must be whole: .* Received: .* of 1100 bytes, where "):
        runner.all_exits(network.pictures[0])
    rewrite(copied, files=None)
    runner = StagedRunner(copied)
    with pytest.raises(InputError, match=r"must be whole\. Received: .*, which is no TFLite model"):
        runner.all_exits(network.pictures[0])


@pytest.mark.parametrize("is_described", [True, False])
def test_refuses_every_cut_of_a_file(int8, tmp_path, is_described):
    folder = shutil.copytree(int8, tmp_path / "cut")
    if not is_described:
        rewrite(folder, files=None)
    path = folder / "network.tflite"
    content = path.read_bytes()
    StagedRunner(folder)
    for length in (*range(0, len(content), len(content) // 20), len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="must be whole"):
            StagedRunner(folder)


def test_refuses_a_changed_byte(int8, tmp_path):
    folder = shutil.copytree(int8, tmp_path / "changed")
    path = folder / "network.tflite"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="as they were written.*, whose SHA-256 is another"):
        StagedRunner(folder)


@pytest.mark.parametrize(
    "file", ["../stage_1.tflite", "/stage_1.tflite", "..", ".", "", "a/b.tflite", r"..\b.tflite"]
)
def test_refuses_files_outside_the_folder(copied, file):
    stages = json.loads((copied / "description.json").read_text())["stages"]
    rewrite(copied, stages=[stages[0] | {"file": file}, *stages[1:]])
    with pytest.raises(InputError, match="must name files of its own folder. Received: "):
        StagedRunner(copied)


@pytest.mark.parametrize(
    "files", [[], {}, {"stage_1.tflite": {"bytes": "5"}}, {"stage_1.tflite": None}]
)
def test_refuses_a_description_of_files_that_is_none(copied, files):
    rewrite(copied, files=files)
    with pytest.raises(InputError, match="of each file in 'files' 'bytes' and 'sha256'"):
        StagedRunner(copied)


def test_refuses_a_file_that_is_not_ours(copied, network):
    shutil.copy(copied / "stage_3.tflite", copied / "stage_2.tflite")
    rewrite(copied, files=None)
    with pytest.raises(InputError, match="with the signature 'stage_2'. Received: .* stage_3"):
        StagedRunner(copied).all_exits(network.pictures[0])


def test_refuses_stages_out_of_order(copied, network):
    stages = json.loads((copied / "description.json").read_text())["stages"]
    rewrite(copied, stages=[stages[0], stages[2], stages[1], stages[3]])
    with pytest.raises(InputError, match="must be those of one network. Received: 'stage_3'"):
        StagedRunner(copied).all_exits(network.pictures[0])


def test_refuses_another_image_shape_than_the_file_takes(copied):
    rewrite(copied, image_shape=[32, 32, 1])
    with pytest.raises(InputError, match=r"\[\[1, 24, 24, 1\]\], where \(32, 32, 1\) is said"):
        StagedRunner(copied)
