import zipfile

import keras
import numpy as np
import pytest
from keras import layers

from tf_adaptive import InputError
from tf_adaptive.models.keras_files import load_keras_file


def saved(path, last):
    images = keras.Input((4,))
    model = keras.Model(images, last(layers.Dense(3)(images)))
    model.save(path)
    return model


def refusal(path):
    with pytest.raises(InputError) as error:
        load_keras_file(path, advice="name another file")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_reads_a_model(tmp_path):
    model = saved(tmp_path / "model.keras", layers.ReLU())
    images = np.ones((2, 4), "float32")
    loaded = load_keras_file(tmp_path / "model.keras", advice="")
    np.testing.assert_array_equal(loaded(images), model(images))


def test_refuses_code(tmp_path):
    path = tmp_path / "model.keras"
    saved(path, layers.Lambda(lambda x: 2 * x, name="double", output_shape=(3,)))
    message = refusal(path)
    assert message.startswith("The model file must hold no code.")
    assert "whose layer 'double' is a Python function; name another file." in message


def test_refuses_what_is_no_model(tmp_path):
    assert "which is no file" in refusal(tmp_path / "absent.keras")
    path = tmp_path / "model.keras"
    path.write_text("text")
    assert "which is damaged; name another file" in refusal(path)
    saved(path, layers.ReLU())
    path.write_bytes(path.read_bytes()[:-100])
    assert "which is damaged; name another file" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "not a model")
    assert "one that Keras can read" in refusal(path)


def test_refuses_layers_that_are_not_known(tmp_path):
    class Unknown(layers.Layer):
        def call(self, inputs):
            return inputs

    path = tmp_path / "model.keras"
    saved(path, Unknown(name="own"))
    message = refusal(path)
    assert "one that Keras can read" in message
    assert "Unknown" in message
