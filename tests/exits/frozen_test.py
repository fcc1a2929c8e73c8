import keras
import numpy as np
import pytest

import tf_adaptive as ta
from tests.exits.backbones import dense_block_classifier, residual_classifier, token_classifier
from tf_adaptive.exits.frozen import split_frozen


@pytest.mark.parametrize(
    "backbone", [residual_classifier, dense_block_classifier, token_classifier]
)
@pytest.mark.parametrize("head", ["linear", "conv"])
def test_the_parts_are_the_network(backbone, head):
    if backbone is token_classifier and head == "conv":
        pytest.skip("tokens have no convolutions")
    model = ta.attach_exits(backbone(), num_exits=3, head=head)
    frozen, heads, teacher = split_frozen(model)
    images = np.random.default_rng(0).standard_normal((4, *model.input_shape[1:]))
    features = frozen(images.astype("float32"))
    expected = model(images.astype("float32"))
    for ours, theirs in zip(heads(features), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(teacher(features), expected[-1])


def test_only_the_exits_are_trained():
    backbone = residual_classifier()
    model = ta.attach_exits(backbone, num_exits=3, head="conv")
    frozen, heads, teacher = split_frozen(model)
    own = {id(weight) for weight in backbone.weights}
    assert not own & {id(weight) for weight in heads.weights}
    trained = {id(weight) for weight in heads.weights}
    assert own | trained == {id(weight) for weight in model.weights}
    assert not teacher.weights


def test_features_are_pooled():
    model = ta.attach_exits(residual_classifier(), at=["block_1", "wide_project"])
    frozen, heads, _ = split_frozen(model)
    # The channels of both places and the last exit's logits.
    assert frozen.output_shape == (None, 8 + 16 + 3)
    kernels = [layer for layer in heads.layers if layer.trainable_weights]
    assert [type(layer) for layer in kernels] == [keras.layers.Dense] * 2
