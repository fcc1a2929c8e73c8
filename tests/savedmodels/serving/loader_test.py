"""The exported models in the C++ session that TF Serving runs them in."""

import concurrent.futures

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from savedmodels.serving.warmup import WARMUP_FILE
from tests.savedmodels.serving.c_loader import CSavedModel

MODELS = {"float32": ("exits", 1), "bfloat16": ("exits", 2), "drnet": ("drnet", 1)}


@pytest.fixture(scope="module", params=list(MODELS))
def place(request):
    """Name and version of an exported model."""
    return MODELS[request.param]


@pytest.fixture(scope="module")
def session(served, place):
    name, version = place
    session = CSavedModel(served / name / str(version))
    yield session
    session.close()


def inputs_of(signatures, name, batch):
    """What a signature takes, made up; states by running the stages before."""
    rng = np.random.default_rng(batch)
    images = rng.integers(0, 256, (batch, 24, 24, 1), np.uint8)
    if name.startswith("stage_") and name != "stage_1":
        number = int(name.removeprefix("stage_"))
        before = f"stage_{number - 1}"
        state = signatures[before](**inputs_of(signatures, before, batch))
        return {key: value.numpy() for key, value in state.items() if key != "logits"}
    made_up = {
        "images": images,
        "encoded": np.array([tf.io.encode_png(image).numpy() for image in images], object),
        "thresholds": rng.uniform(0, 1, (batch, 3)).astype("float32"),
        "enabled_exits": rng.integers(1, 4, (batch, 2)).astype("int32"),
    }
    takes = signatures[name].structured_input_signature[1]
    return {key: made_up[key] for key in takes}


def assert_same(actual, expected):
    assert set(actual) == set(expected)
    for name, value in expected.items():
        assert actual[name].shape == value.shape
        np.testing.assert_array_equal(actual[name], value.numpy())


@pytest.mark.parametrize("batch", [0, 1, 65])
def test_every_signature_answers_what_it_does_in_python(session, models, place, batch):
    signatures = models.signatures(*place)
    assert set(session.signatures) - {"__saved_model_init_op"} == set(signatures)
    for name, function in signatures.items():
        inputs = inputs_of(signatures, name, batch)
        tensors = {
            key: tf.constant(value, tf.string if value.dtype == object else value.dtype)
            for key, value in inputs.items()
        }
        assert_same(session.run(name, **inputs), function(**tensors))


@pytest.mark.parametrize("threads", range(1, 9))
def test_threads_at_once_get_their_own_answers(session, models, place, threads):
    signatures = models.signatures(*place)
    rng = np.random.default_rng(threads)
    batches = [
        rng.integers(0, 256, (size, 24, 24, 1), np.uint8)
        for size in rng.integers(1, 9, 3 * threads)
    ]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        answers = list(
            pool.map(lambda batch: session.run("serving_default", images=batch), batches)
        )
    for batch, answer in zip(batches, answers, strict=True):
        expected = signatures["serving_default"](images=batch)
        assert_same({"class": answer["class"]}, {"class": expected["class"]})
        np.testing.assert_allclose(
            answer["probabilities"], expected["probabilities"], rtol=1e-5, atol=1e-6
        )


def test_warm_up_requests_are_answered(session, served, place):
    name, version = place
    path = served / name / str(version) / WARMUP_FILE
    asked = []
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.name == name
        signature = request.model_spec.signature_name
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        answer = session.run(signature, **inputs)
        assert {len(value) for value in answer.values()} == {1}
        asked.append(signature)
    assert sorted(asked) == sorted(set(session.signatures) - {"__saved_model_init_op"})


def test_what_it_refuses(session):
    for inputs, reason in (
        ({"images": np.zeros((1, 24, 24, 3), np.uint8)}, r"must have 1 channels.*\[3\]"),
        ({"images": np.zeros((1, 0, 24, 1), np.uint8)}, r"from 1 to 33554432 pixels.*\[0\] \[24\]"),
        ({"images": np.zeros((1, 1, 2**25 + 1, 1), np.uint8)}, r"\[1\] \[33554433\]"),
    ):
        with pytest.raises(RuntimeError, match=reason):
            session.run("serving_default", **inputs)
    with pytest.raises(RuntimeError, match="must be a BMP, GIF, JPEG, PNG or WebP file"):
        session.run("serving_bytes", encoded=np.array([b"text"], object))
