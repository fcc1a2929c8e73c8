import keras
import numpy as np
import pytest

from tf_adaptive import InputError, profile
from tf_adaptive.images import normalized
from tf_adaptive.models.keras_applications import (
    application_names,
    application_preprocessing,
    has_width,
    keras_application,
    normalization_of,
    preprocessing_of_mode,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype("uint8")


@pytest.mark.parametrize("name", application_names())
def test_normalization_is_the_preprocessing(name):
    preprocess = application_preprocessing(name)
    mean, std, order = normalization_of(preprocess)
    expected = np.asarray(preprocess(PIXELS.astype("float32")))
    received = np.asarray(normalized(PIXELS, mean, std))[..., list(order)]
    # In pixels' own size these are up to 255.
    np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_published_numbers():
    mean, std, order = normalization_of(preprocessing_of_mode("torch"))
    assert mean == pytest.approx((0.485, 0.456, 0.406), abs=1e-7)
    assert std == pytest.approx((0.229, 0.224, 0.225), abs=1e-7)
    assert order == (0, 1, 2)
    mean, std, order = normalization_of(preprocessing_of_mode("caffe"))
    # Red, green and blue here; Caffe's order is blue, green and red.
    assert np.multiply(mean, 255) == pytest.approx((123.68, 116.779, 103.939), abs=1e-4)
    assert np.multiply(std, 255) == pytest.approx((1, 1, 1), abs=1e-7)
    assert order == (2, 1, 0)
    assert normalization_of(preprocessing_of_mode("tf")) == ((0.5,) * 3, (0.5,) * 3, (0, 1, 2))
    mean, std, _ = normalization_of(preprocessing_of_mode("raw"))
    np.testing.assert_array_equal(normalized(PIXELS, mean, std), PIXELS.astype("float32"))


@pytest.mark.parametrize(
    "preprocess",
    [
        lambda pixels: pixels.mean(axis=-1, keepdims=True) + 0 * pixels,
        lambda pixels: pixels**2,
        lambda pixels: np.minimum(pixels, 200),
        lambda pixels: 255 - pixels,
        lambda pixels: 0 * pixels,
        lambda pixels: pixels[..., [0, 0, 1]],
    ],
)
def test_refuses_a_preprocessing_of_another_form(preprocess):
    with pytest.raises(InputError, match="must scale and shift each channel by itself"):
        normalization_of(preprocess)


def small(**arguments):
    return keras_application(
        **{
            "name": "MobileNetV2",
            "input_shape": (32, 32, 3),
            "num_classes": 4,
            "weights": None,
            "width": 0.35,
            **arguments,
        }
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A network of 1,000 classes and files of its weights."""
    keras.utils.set_random_seed(0)
    model = small(num_classes=1000)
    for variable in model.weights:
        variable.assign_add(0.01 * keras.random.uniform(variable.shape, seed=1))
    folder = tmp_path_factory.mktemp("weights")
    model.save_weights(folder / "of_1000.weights.h5")
    model.save(folder / "of_1000.keras")
    return model, folder


def test_gives_logits_of_the_classes():
    model = small()
    assert model.output.shape == (None, 4)
    assert model.layers[-1].activation is keras.activations.linear
    wider = small(width=1.0)
    assert profile(model)[0].macs < profile(wider)[0].macs


@pytest.mark.parametrize("name", ["of_1000.weights.h5", "of_1000.keras"])
def test_features_of_a_file_are_kept_under_a_new_top(weights, name):
    model, folder = weights
    images = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
    same = small(num_classes=1000, weights=folder / name)
    np.testing.assert_array_equal(same(images), model(images))
    other = small(weights=str(folder / name))
    assert other.output.shape == (None, 4)
    features = [
        keras.Model(network.input, network.layers[-1].input)(images) for network in (other, model)
    ]
    np.testing.assert_array_equal(*features)
    # A file of as many classes gives its last layer too.
    other.save_weights(folder / "of_4.weights.h5")


def test_refuses_weights_that_do_not_fit(weights, tmp_path):
    _, folder = weights
    path = folder / "of_1000.weights.h5"
    with pytest.raises(InputError, match="`weights` must be a whole file of this network's"):
        small(width=0.5, weights=path)
    damaged = tmp_path / "damaged.weights.h5"
    damaged.write_bytes(path.read_bytes()[:10_000])
    with pytest.raises(InputError, match="`weights` must be a whole file of this network's"):
        small(weights=damaged)
    with pytest.raises(InputError, match="`weights` must be imagenet, none or a file that Keras"):
        small(weights=tmp_path / "none.weights.h5")


def test_refuses_what_keras_cannot_build():
    with pytest.raises(InputError, match="Did you mean 'MobileNetV2'"):
        small(name="MobileNetV22")
    with pytest.raises(InputError, match="`width` must be left out for ResNet50, which has one"):
        small(name="ResNet50", width=0.5)
    with pytest.raises(InputError, match="one that keras.applications can build"):
        small(input_shape=(8, 8, 2), width=-1.0)
    assert has_width("MobileNet") and not has_width("VGG16")


def test_a_download_that_fails_is_one_line(monkeypatch):
    def fails(*_, **__):
        raise OSError("URL fetch failure on https://…: Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fails)
    with pytest.raises(
        InputError, match="must be a file of MobileNetV2's weights where Keras"
    ) as e:
        small(weights="imagenet", width=None)
    assert "Name or service not known" in str(e.value)
    assert "\n" not in str(e.value)
