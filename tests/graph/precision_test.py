import keras
import numpy as np
import pytest

from tests.tiny_networks import tiny_collaborating, tiny_msdnet
from tf_adaptive.graph.precision import copy_weights, with_dtype


def one_exit():
    images = keras.Input((16, 16, 3))
    features = keras.layers.Conv2D(4, 3)(images)
    features = keras.layers.BatchNormalization()(features) * 2.0
    features = keras.layers.GlobalAveragePooling2D()(features)
    return keras.Model(images, keras.layers.Dense(5)(features))


@pytest.mark.parametrize("build", [tiny_msdnet, tiny_collaborating, one_exit])
def test_answers_nearly_the_same_with_bfloat16(build):
    keras.utils.set_random_seed(0)
    model = build()
    half = with_dtype(model, "mixed_bfloat16")
    images = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype("float32")
    exits = [keras.tree.flatten(network(images)) for network in (model, half)]
    for ours, theirs in zip(*exits, strict=True):
        assert theirs.dtype == "float32"
        difference = np.abs(ours - theirs).max()
        assert 0 < difference < 0.05 * np.abs(ours).max()
    policies = {layer.dtype_policy.name for layer in half.layers}
    assert policies == {"mixed_bfloat16", "float32"}


def test_weights_are_its_own_until_they_are_copied():
    model = one_exit()
    half = with_dtype(model, "mixed_bfloat16")
    before = model.get_weights()
    for variable in half.weights:
        variable.assign_add(np.ones(variable.shape))
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)
    copy_weights(half, model)
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_allclose(weight, value + 1, rtol=1e-6)
