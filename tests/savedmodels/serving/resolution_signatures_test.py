import numpy as np
import pytest
import tensorflow as tf

from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import load_finished_run

BATCHES = (0, 1, 65)


@pytest.fixture(scope="module")
def run(finished_drnet):
    """The run's DRNet, its test images as they are, and as it takes them."""
    config, model = load_finished_run(finished_drnet)
    dataset = load_run_dataset(config)
    pictures = np.stack(dataset.pictures("test", range(65)))
    return model, pictures, next(iter(dataset.batches("test", 65)))[0]


@pytest.fixture(scope="module")
def signatures(models):
    return models.signatures("drnet")


def assert_close(actual, expected):
    """Equal within 1e-5 of the largest."""
    assert actual.shape == expected.shape
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max(initial=1)
    )


def test_names(signatures):
    branches = ["classify_12", "classify_16", "classify_24"]
    assert sorted(signatures) == [
        *(*branches, "predict_resolution", "serving_bytes", "serving_default")
    ]


@pytest.mark.parametrize("batch", BATCHES)
def test_every_resolution_is_the_network(run, signatures, batch):
    model, pictures, images = run
    for resolution in model.resolutions:
        logits = signatures[f"classify_{resolution}"](images=pictures[:batch])["logits"]
        assert_close(logits.numpy(), model.branch_logits(images[:batch], resolution).numpy())


@pytest.mark.parametrize("batch", BATCHES)
def test_each_image_is_classified_at_the_resolution_chosen_for_it(run, signatures, batch):
    model, pictures, images = run
    expected = model.route(images[:batch])
    resolutions = np.array(model.resolutions)[expected["choice"]]
    if batch == 65:
        assert len(set(resolutions)) > 1
    answer = signatures["serving_default"](images=pictures[:batch])
    np.testing.assert_array_equal(answer["resolution"], resolutions)
    assert_close(answer["probabilities"].numpy(), tf.nn.softmax(expected["logits"]).numpy())
    np.testing.assert_array_equal(answer["class"], np.argmax(expected["logits"], axis=-1))
    np.testing.assert_array_equal(
        answer["confidence"], answer["probabilities"].numpy().max(axis=-1)
    )
    chosen = signatures["predict_resolution"](images=pictures[:batch])
    np.testing.assert_array_equal(chosen["resolution"], resolutions)
    assert chosen["probabilities"].shape == (batch, 3)
    encoded = [tf.io.encode_png(picture).numpy() for picture in pictures[:batch]]
    again = signatures["serving_bytes"](encoded=tf.constant(encoded, tf.string))
    for name, value in answer.items():
        np.testing.assert_array_equal(again[name], value)
