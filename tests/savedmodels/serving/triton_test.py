"""The model repository that Triton reads, in a stand-in of the server."""

import json
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from savedmodels.serving import triton
from savedmodels.serving.saved_model import export_model, export_run
from tests.savedmodels.triton_server import Refused, Triton, TritonError, read_config
from tests.tiny_networks import tiny_ranet
from tests.trainers.programs import files, refused, run_program
from tf_adaptive.errors import InputError
from tf_adaptive.exits.early_exit import EarlyExit
from tf_adaptive.exits.thresholds import (
    confidence_scores,
    exit_fractions,
    thresholds_for_budget,
)
from tf_adaptive.runs.run import Run

PYTHON, TENSORFLOW = 'backend: "python"\n', 'platform: "tensorflow_savedmodel"\n'


@pytest.fixture(scope="module")
def thresholds(network):
    """Those that let about a quarter of the images leave at each exit, and are nobody's score."""
    confidences = np.stack(
        [confidence_scores(logits, "max_probability") for logits in network.scaled]
    )
    chosen = thresholds_for_budget(confidences, exit_fractions(1.0, 4))
    return tuple(float(np.floor(1000 * threshold) / 1000) for threshold in chosen)


@pytest.fixture(scope="module")
def repository(made_once, finished_run, thresholds):
    def export(folder):
        exported = run_program(
            "savedmodels.export",
            *("--server", "triton", "--run_dir", finished_run, "--output", folder / "models"),
            *("--name", "mine", "--thresholds", ",".join(map(str, thresholds))),
        )
        assert (exported.status, exported.stderr) == (0, "")
        assert exported.stdout.startswith("Model 'mine', version 1: ")

    return made_once("triton", export) / "models"


@pytest.fixture(scope="module", params=[PYTHON, TENSORFLOW])
def server(request, repository, tmp_path_factory):
    """A server of the stages as they were written, and with the line that their comment names."""
    folder = shutil.copytree(repository, tmp_path_factory.mktemp("triton") / "models")
    for path in folder.glob("*_stage_*/config.pbtxt"):
        text = path.read_text()
        assert text.count(PYTHON) == 1
        path.write_text(text.replace(PYTHON, request.param))
    return Triton(folder)


@pytest.fixture(scope="module")
def expected(finished_run, thresholds):
    """A function of uint8 images, and of thresholds, that answers as `EarlyExit` does."""
    run = Run(finished_run)
    known = {}

    def answer(images, thresholds=thresholds):
        if thresholds not in known:
            point = run.operating_point(thresholds=list(thresholds))
            known[thresholds] = run.executor(point)
        return {k: v.numpy() for k, v in known[thresholds](run.preprocess(images)).items()}

    answer.labels = run.config["class_names"]
    return answer


def pictures(network, begin, end):
    return np.stack(network.pictures[begin:end])


def assert_answers(answer, expected, labels):
    assert set(answer) == {"class", "label", "probabilities", "confidence", "exit"}
    for name in ("class", "exit"):
        np.testing.assert_array_equal(answer[name][:, 0], expected[name])
    assert [text.decode() for text in answer["label"][:, 0]] == [
        labels[number] for number in expected["class"]
    ]
    np.testing.assert_allclose(answer["confidence"][:, 0], expected["confidence"], atol=1e-5)
    np.testing.assert_allclose(answer["probabilities"], expected["probabilities"], atol=1e-5)


@pytest.mark.parametrize("batch", [1, 7, 60])
def test_answers_as_early_exit(server, expected, network, batch):
    images = pictures(network, 0, batch)
    (answer,) = server.infer("mine", {"images": images})
    wanted = expected(images)
    assert_answers(answer, wanted, expected.labels)
    if batch == 60:
        assert len(set(wanted["exit"])) == 4


def test_a_stage_runs_those_that_stay_and_no_others(server, expected, network):
    images = pictures(network, 0, 60)
    server.ran.clear()
    server.infer("mine", {"images": images})
    exits = expected(images)["exit"]
    stay = [np.count_nonzero(exits >= number) for number in (1, 2, 3, 4)]
    stages = [(f"mine_1_stage_{number}", count) for number, count in enumerate(stay, start=1)]
    assert server.ran == [("mine", 60), *stages]
    server.ran.clear()
    server.infer("mine", {"images": images[exits == 1]})
    assert [name for name, _ in server.ran] == ["mine", "mine_1_stage_1"]


def test_requests_of_many_kinds_at_once(server, expected, network):
    large = np.random.default_rng(0).integers(0, 256, (2, 40, 31, 1), np.uint8)
    parts = [pictures(network, 0, 3), large, pictures(network, 3, 4), pictures(network, 4, 9)]
    own = np.float32([[0.0, 0.0, 0.0]] * 2 + [[2.0, 2.0, 2.0]] * 3)
    requests = [{"images": images} for images in parts]
    requests[3]["thresholds"] = own
    requests.insert(2, {"images": np.zeros((2, 24, 24, 1), np.uint8)[:0]})
    server.ran.clear()
    *answers, last = server.infer("mine", *requests)
    # The images of one size are one batch.
    assert server.ran[0] == ("mine", 11)
    assert sorted(count for name, count in server.ran if name == "mine_1_stage_1") == [2, 9]
    empty = answers.pop(2)
    assert empty["probabilities"].shape == (0, 10) and empty["label"].shape == (0, 1)
    for answer, images in zip(answers, parts[:3], strict=True):
        assert_answers(answer, expected(images), expected.labels)
    assert_answers(
        {name: values[:2] for name, values in last.items()},
        expected(parts[3][:2], (0.0, 0.0, 0.0)),
        expected.labels,
    )
    assert last["exit"][:, 0].tolist() == [1, 1, 4, 4, 4]


def test_nothing_at_all(server):
    server.ran.clear()
    (answer,) = server.infer("mine", {"images": np.zeros((0, 24, 24, 1), np.uint8)})
    assert {name: values.shape for name, values in answer.items()} == {
        **{"class": (0, 1), "label": (0, 1), "probabilities": (0, 10)},
        **{"confidence": (0, 1), "exit": (0, 1)},
    }
    assert server.ran == [("mine", 0)]


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (
            {"images": np.zeros((2, 24, 24, 3), np.uint8)},
            "`images` must be uint8 (batch, height, width, 1). "
            "Received: uint8 of the shape (2, 24, 24, 3).",
        ),
        (
            {"images": np.zeros((2, 24, 24, 1), np.float32)},
            "`images` must be uint8 (batch, height, width, 1). "
            "Received: float32 of the shape (2, 24, 24, 1).",
        ),
        (
            {"images": np.zeros((2, 24, 24, 1), np.uint8), "thresholds": np.zeros((2, 4), "f")},
            "`thresholds` must be float32 (2, 3), for each image one for each exit but the last. "
            "Received: float32 of the shape (2, 4).",
        ),
    ],
)
def test_a_wrong_request_is_refused_and_no_other(server, network, monkeypatch, request_, line):
    with pytest.raises(Refused):
        server.infer("mine", request_)
    # Where its configuration lets it pass.
    monkeypatch.setattr("tests.savedmodels.triton_server._check", lambda *_: None)
    bad, good = server.infer("mine", request_, {"images": pictures(network, 0, 2)})
    assert (bad.message(), bad.code()) == (line, TritonError.INVALID_ARG)
    assert good["exit"].shape == (2, 1)


def test_images_without_pixels_are_refused_and_no_other(server, network):
    bad, good = server.infer(
        "mine",
        {"images": np.zeros((2, 0, 24, 1), np.uint8)},
        {"images": pictures(network, 0, 2)},
    )
    assert bad.message().startswith("mine_1_stage_1 gave no answer: ")
    assert "An image must have from 1 to" in bad.message()
    assert bad.code() == TritonError.INTERNAL
    assert good["exit"].shape == (2, 1)


def test_the_configurations(repository):
    names = {"mine", *(f"mine_1_stage_{number}" for number in (1, 2, 3, 4))}
    configs = {folder.name: read_config(folder) for folder in repository.iterdir()}
    assert set(configs) == names
    for config in configs.values():
        assert config.backend == "python" and config.max_batch_size == 64
        assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
    assert configs["mine"].dynamic_batching.max_queue_delay_microseconds == 2000
    assert [each.name for each in configs["mine"].input if each.optional] == ["thresholds"]
    for name in names - {"mine"}:
        signatures = tf.saved_model.load(str(repository / name / "1/model.savedmodel")).signatures
        function = signatures["serving_default"]
        for tensors, specs in (
            (configs[name].input, function.structured_input_signature[1]),
            (configs[name].output, function.structured_outputs),
        ):
            assert {each.name: [None if d == -1 else d for d in each.dims] for each in tensors} == {
                key: spec.shape.as_list()[1:] for key, spec in specs.items()
            }


def export(model, output, *, thresholds, measure=None):
    """Exports a network whose pixels are normalised to [-2, 2]."""
    height, width, channels = model.inputs[0].shape[1:]
    classes = model.outputs[0].shape[-1]
    description = {
        "class_names": [f"class {number}" for number in range(classes)],
        "image_shape": [height, width, channels],
        "mean": [0.5] * channels,
        "std": [0.25] * channels,
        "center_crop": False,
        "picture_reading": "as_seen",
    }
    fast = EarlyExit(model, thresholds, measure=measure)
    assert export_model(fast, description, output, server="triton") == ("model", 1)


@pytest.mark.parametrize("measure", ["entropy", "margin"])
def test_other_networks_and_measures(tmp_path, measure):
    """Exit 2 off."""
    model = tiny_ranet()
    shape = (9, *model.inputs[0].shape[1:])
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    normalised = (images.astype("float32") / 255 - 0.5) / 0.25
    scores = [confidence_scores(logits, measure).numpy() for logits in model(normalised)]
    # Between the fifth and the sixth: nobody's score.
    thresholds = [float(np.sort(each)[4:6].mean()) for each in scores[:-1]]
    thresholds[1] = None
    export(model, tmp_path / "models", measure=measure, thresholds=thresholds)
    (answer,) = Triton(tmp_path / "models").infer("model", {"images": images})
    wanted = EarlyExit(model, thresholds, measure=measure)(normalised)
    assert set(answer["exit"][:, 0]) == {1, 3}
    np.testing.assert_array_equal(answer["exit"][:, 0], wanted["exit"])
    np.testing.assert_array_equal(answer["class"][:, 0], wanted["class"])
    np.testing.assert_allclose(answer["confidence"][:, 0], wanted["confidence"], atol=1e-5)


def test_what_is_passed_on_goes_through_no_stage(tmp_path):
    """Stage 3 reads what stage 1 has made, the images that are made ready among it."""
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 1), name="images")
    first, second, third = (keras.layers.Conv2D(2, 3, padding="same", name=n) for n in "abc")
    made = first(images)
    features = [made, second(made), keras.layers.Concatenate()([third(images), made])]
    flat = [keras.layers.Flatten()(each) for each in features]
    model = keras.Model(images, [keras.layers.Dense(3)(each) for each in flat])
    export(model, tmp_path, thresholds=[0.75, 0.75])
    described = json.loads((tmp_path / "model/1/description.json").read_text())["stages"]
    assert [set(stage["takes"]) for stage in described] == [{"images"}, {"a"}, {"images", "a"}]
    assert set(described[0]["gives"]) == {"probabilities", "confidence", "images", "a"}
    assert described[1]["gives"] == ["probabilities", "confidence"]
    pixels = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1), np.uint8)
    (answer,) = Triton(tmp_path).infer("model", {"images": pixels})
    wanted = EarlyExit(model, [0.75, 0.75])((pixels.astype("float32") / 255 - 0.5) / 0.25)
    assert set(answer["exit"][:, 0]) == {1, 2, 3}
    np.testing.assert_array_equal(answer["exit"][:, 0], wanted["exit"])
    np.testing.assert_allclose(answer["probabilities"], wanted["probabilities"], atol=1e-5)


def test_one_exit_whose_layers_have_our_names(tmp_path):
    images = keras.Input((8, 8, 1))
    features = keras.layers.Conv2D(4, 3, name="probabilities")(images)
    pooled = keras.layers.GlobalAveragePooling2D(name="confidence")(features)
    first = keras.layers.Dense(3)(pooled)
    last = keras.layers.Dense(3)(keras.layers.Flatten()(features))
    for outputs in ([first, last], first):
        model = keras.Model(images, outputs)
        output = tmp_path / str(len(model.outputs))
        export(model, output, thresholds=[0.4] * (len(model.outputs) - 1))
        (answer,) = Triton(output).infer("model", {"images": np.zeros((2, 8, 8, 1), np.uint8)})
        wanted = model(np.full((2, 8, 8, 1), -2.0))
        logits = keras.tree.flatten(wanted)[int(answer["exit"][0, 0]) - 1]
        np.testing.assert_allclose(answer["probabilities"], tf.nn.softmax(logits), atol=1e-5)


def test_versions(repository, finished_run, tmp_path, network):
    folder = shutil.copytree(repository, tmp_path / "models")
    was = files(folder)
    assert export_run(finished_run, folder, name="mine", server="triton") == ("mine", 2)
    now = files(folder)
    assert {path: content for path, content in now.items() if path in was} == was
    assert (folder / "mine_2_stage_4/1/model.savedmodel/saved_model.pb").is_file()
    server = Triton(folder)
    server.infer("mine", {"images": pictures(network, 0, 7)})
    assert {name for name, _ in server.ran} - {"mine"} <= {
        f"mine_2_stage_{number}" for number in (1, 2, 3, 4)
    }
    for version in (1, 2):
        described = json.loads((folder / f"mine/{version}/description.json").read_text())
        assert described["version"] == version and described["tensorflow"] == tf.__version__
        assert f"`mine_{version}_stage_2`" in (folder / f"mine/{version}/model_card.md").read_text()
    with pytest.raises(InputError, match="`version` must be a new one"):
        export_run(finished_run, folder, name="mine", version=2, server="triton")
    assert files(folder) == now


@pytest.mark.parametrize(("before", "moves"), [(True, 4), (False, 2)])
def test_nothing_is_left_of_what_fails(
    repository, finished_run, tmp_path, monkeypatch, before, moves
):
    folder = tmp_path / "models"
    if before:
        shutil.copytree(repository, folder)
    was, moved = files(tmp_path), []

    def rename(source, target):
        if len(moved) == moves:
            raise OSError(28, "No space left on device")
        moved.append(os.replace(source, target))

    monkeypatch.setattr(triton.os, "rename", rename)
    with pytest.raises(InputError, match="`output` must be a folder to write in.*No space left"):
        export_run(finished_run, folder, name="mine", server="triton")
    assert len(moved) == moves
    assert files(tmp_path) == was


def somebody_elses(folder):
    (folder / "thesis.txt").write_text("years of work")


def same_name(folder):
    (folder / "mine").mkdir()
    (folder / "mine/config.pbtxt").write_text('name: "mine"\n')


def same_stage(folder):
    (folder / "mine_1_stage_2").mkdir()
    (folder / "mine_1_stage_2/config.pbtxt").write_text("")


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (somebody_elses, "`output` must be a new folder, or a model repository of Triton."),
        (same_name, "`name` must be new, or that of a model that was exported."),
        (same_stage, "`output` must have no models of the names of the stages."),
    ],
)
def test_a_folder_that_is_not_ours(finished_run, tmp_path, spoil, line):
    spoil(tmp_path)
    was = files(tmp_path)
    with pytest.raises(InputError, match=line):
        export_run(finished_run, tmp_path, name="mine", server="triton")
    assert files(tmp_path) == was


def test_other_models_of_the_repository_stay(finished_run, tmp_path):
    (tmp_path / "detector").mkdir()
    (tmp_path / "detector/config.pbtxt").write_text('name: "detector"\n')
    was = files(tmp_path)
    export_run(finished_run, tmp_path, name="mine", server="triton")
    assert was.items() <= files(tmp_path).items()


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--dtype", "bfloat16"), "`dtype` must be float32 for Triton"),
        (("--server", "torchserve"), "`server` must be one of tf_serving, triton."),
        (("--name", "a/b"), "`name` must be letters, digits"),
    ],
)
def test_flags_that_cannot_be_meant(finished_run, tmp_path, flags, line):
    directories = ("--run_dir", finished_run, "--output", tmp_path / "models")
    told = refused(tmp_path, "savedmodels.export", "--server", "triton", *directories, *flags)
    assert line in told


def test_a_drnet_is_not_for_it(finished_drnet, tmp_path):
    with pytest.raises(InputError, match="`server` must be tf_serving for a DRNet"):
        export_run(finished_drnet, tmp_path / "models", server="triton")
    assert files(tmp_path) == {}
