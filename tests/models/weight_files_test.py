import keras
import numpy as np
import pytest
from keras import layers

from tf_adaptive import InputError
from tf_adaptive.models.weight_files import load_weight_file


def network(classes, depth=1):
    keras.utils.set_random_seed(classes)
    images = keras.Input((4, 4, 3))
    features = images
    for _ in range(depth):
        features = layers.Conv2D(3, 1)(features)
    features = layers.Dropout(0.1)(layers.GlobalAveragePooling2D()(features))
    return keras.Model(images, layers.Dense(classes)(features))


@pytest.mark.parametrize("name", ["saved.weights.h5", "saved.keras"])
@pytest.mark.parametrize("classes", [2, 7])
def test_the_number_of_classes_that_fits_is_taken(tmp_path, name, classes):
    saved = network(classes)
    saved.optimizer = keras.optimizers.SGD(momentum=0.9)
    saved.optimizer.build(saved.trainable_variables)
    if name.endswith(".keras"):
        saved.save(tmp_path / name)
    else:
        saved.save_weights(tmp_path / name)
    loaded = load_weight_file(tmp_path / name, network, classes=(2, 7))
    assert loaded.output.shape[-1] == classes
    for ours, theirs in zip(loaded.get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["saved.weights.h5", "saved.keras"])
def test_refuses_a_file_of_a_deeper_network(tmp_path, name):
    deeper = network(2, depth=3)
    if name.endswith(".keras"):
        deeper.save(tmp_path / name)
    else:
        deeper.save_weights(tmp_path / name)
    with pytest.raises(InputError, match="of this network's weights. Received: .*saved"):
        load_weight_file(tmp_path / name, network, classes=(2,))


def test_refuses_what_is_no_such_file(tmp_path):
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(InputError, match="must be a whole file of this network's weights"):
        load_weight_file(tmp_path / "text.h5", network, classes=(2,))
    for path in (tmp_path / "weights.pth", tmp_path / "absent.keras", tmp_path):
        with pytest.raises(InputError, match="must be imagenet, none or a file that Keras saved"):
            load_weight_file(path, network, classes=(2,))
