"""Batches in LiteRT, against the images one by one."""

import itertools
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from savedmodels.classifiers import load_classifier
from savedmodels.tflite.batch_runner import BatchRunner, cheapest_sizes
from savedmodels.tflite.classifier import BatchRunner as ClassifiersRunner
from savedmodels.tflite.conversion import convert_run
from savedmodels.tflite.exit_runner import StagedRunner
from tests.pictures import saved
from tests.savedmodels.conftest import FLOAT16, INT8
from tests.trainers.programs import refused, run_program
from tf_adaptive.errors import InputError
from tf_adaptive.exits.evaluation import confidences_of_exits
from tf_adaptive.exits.thresholds import MEASURES

SIZES = (4, 16)
CONVERT = "savedmodels.convert_tflite"


@pytest.fixture(scope="module")
def batches(finished_run, made_once):
    """The folder of a conversion for batches, a file for each stage."""

    def convert(folder):
        sizes = ("--batch_sizes", ",".join(map(str, SIZES)))
        flags = ("--run_dir", finished_run, "--output", folder / "batches", "--test_images", "60")
        finished = run_program(CONVERT, *flags, *sizes)
        assert (finished.status, finished.stderr) == (0, "")

    return made_once("batches", convert) / "batches"


@pytest.fixture(scope="module")
def pictures(network):
    """uint8 `(batch, height, width, channels)`."""
    return np.stack(network.pictures[:30])


def half_leave(network):
    """Thresholds that about half of the images that reach an exit leave at."""
    confidences = confidences_of_exits(network.scaled)
    return [float(np.median(of_exit)) for of_exit in confidences[:-1]]


def assert_same(runner, alone, pictures):
    answer = runner(pictures)
    one_by_one = [alone(picture) for picture in pictures]
    np.testing.assert_array_equal(answer["exit"], [each.exit for each in one_by_one])
    np.testing.assert_array_equal(answer["class"], [each.class_number for each in one_by_one])
    for name in ("probabilities", "confidence"):
        expected = np.stack([getattr(each, name) for each in one_by_one])
        np.testing.assert_allclose(answer[name], expected, atol=1e-5)
    return answer


@pytest.mark.parametrize("count", [1, 3, 4, 5, 23])
def test_answers_as_one_by_one_however_many(batches, network, pictures, count):
    thresholds = half_leave(network)
    runner = BatchRunner(batches, thresholds=thresholds)
    assert runner.batch_sizes == (1, *SIZES)
    alone = StagedRunner(batches, thresholds=thresholds)
    answer = assert_same(runner, alone, pictures[:count])
    assert count < 23 or set(answer["exit"]) == {1, 2, 3, 4}


@pytest.mark.parametrize("measure", MEASURES)
def test_every_size_and_measure(batches, pictures, tmp_path, measure):
    folder = shutil.copytree(batches, tmp_path / "copied")
    path = folder / "description.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"measure": measure}))
    runner, alone = BatchRunner(folder, thresholds=[0.3, None, 0.4]), StagedRunner(folder)
    alone.thresholds = runner.thresholds
    for size in runner.batch_sizes:
        # As if that one were the fastest.
        runner.milliseconds = {each: 1.0 if each == size else 99.0 * each for each in (1, *SIZES)}
        assert runner.best_batch_size == size
        answer = assert_same(runner, alone, pictures[:7])
        assert 2 not in answer["exit"]


@pytest.mark.parametrize("settings", [FLOAT16, INT8])
@pytest.mark.parametrize("single_file", [False, True])
def test_other_precisions(finished_run, network, pictures, tmp_path, settings, single_file):
    arguments = {"single_file": single_file, "batch_sizes": [3], **settings}
    convert_run(finished_run, tmp_path / "out", test_images=20, **arguments)
    thresholds = half_leave(network)
    runner = BatchRunner(tmp_path / "out", thresholds=thresholds)
    assert_same(runner, StagedRunner(tmp_path / "out", thresholds=thresholds), pictures[:8])


def test_larger_batches_share_the_weights(batches, float32_stages):
    for path in float32_stages.glob("*.tflite"):
        assert (batches / path.name).stat().st_size < 1.5 * path.stat().st_size + 40_000


def test_images_are_packed_in_the_least_time():
    took = {1: 1.0, 8: 4.0, 32: 12.0}
    generator = np.random.default_rng(0)
    for count in (1, 2, 3, 4, 5, 8, 9, 25, 31, 32, 33, 100, *generator.integers(1, 80, 5)):
        sizes = cheapest_sizes(int(count), tuple(took.items()))
        assert sum(sizes) >= count and list(sizes) == sorted(sizes, reverse=True)
        best = min(
            sum(number * cost for number, cost in zip(numbers, took.values(), strict=True))
            for numbers in itertools.product(
                range(count + 1 if count < 40 else 9), range(6), range(5)
            )
            if sum(number * size for number, size in zip(numbers, took, strict=True)) >= count
        )
        assert sum(took[size] for size in sizes) == best


def test_the_classifier_takes_batches_where_they_are_faster(batches, pictures, monkeypatch):

    files = [saved(Image.fromarray(picture[..., 0]), "PNG") for picture in pictures[:9]]
    expected = [load_classifier(batches)(file) for file in files]
    asked = []

    def counted(self, images):
        asked.append(len(images))
        return BatchRunner.__call__(self, images)

    for faster, calls in ((16, [9]), (1, [])):

        class Runner(ClassifiersRunner):
            __call__ = counted
            best_batch_size = faster

        monkeypatch.setattr("savedmodels.tflite.classifier.BatchRunner", Runner)
        asked.clear()
        classify = load_classifier(batches)
        assert classify.pictures_at_once == faster
        for ours, theirs in zip(classify.many(files), expected, strict=True):
            assert ours == theirs | {"confidence": pytest.approx(theirs["confidence"], abs=1e-6)}
        assert asked == calls
        assert classify.many([]) == []


def test_refuses_images_of_another_kind(batches, pictures):
    runner = BatchRunner(batches)
    for images in (pictures[0], pictures[:0], pictures[:2] / 255, None):
        with pytest.raises(
            InputError, match=r"must be a uint8 array of the shape \(batch, 24, 24, 1"
        ):
            runner(images)


def test_refuses_a_folder_for_one_image(float32_stages, batches, tmp_path):
    with pytest.raises(InputError, match="converted for batches, with --batch_sizes. Received: "):
        BatchRunner(float32_stages)
    folder = shutil.copytree(batches, tmp_path / "copied")
    path = folder / "description.json"
    text = path.read_text()
    for sizes in ([1, "4"], [1, 0], [4], 4):
        path.write_text(json.dumps(json.loads(text) | {"batch_sizes": sizes}))
        with pytest.raises(InputError, match="must be a list of whole numbers from 1 on"):
            BatchRunner(folder)
    # That its files have no signatures of.
    path.write_text(json.dumps(json.loads(text) | {"batch_sizes": [1, 5]}))
    with pytest.raises(InputError, match="with the signature 'stage_1_batch_5'"):
        BatchRunner(folder)


def test_wrong_batch_sizes(finished_run, finished_drnet, tmp_path):
    for run_dir, sizes, message in (
        (finished_run, "4,0", "`batch_sizes` must be a whole number from 1 on"),
        (finished_run, "4,many", "`batch_sizes` must be whole numbers with commas between"),
        (finished_drnet, "4", "`batch_sizes` must be left out for a DRNet"),
    ):
        flags = ("--run_dir", run_dir, "--output", tmp_path / "out", "--batch_sizes", sizes)
        assert message in refused(tmp_path, CONVERT, *flags)
