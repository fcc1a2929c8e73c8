import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tf_adaptive as ta
from tests.exits.backbones import (
    cells_reading_two_back,
    dense_block_classifier,
    residual_classifier,
    token_classifier,
)
from tf_adaptive.exits.thresholds import choose_exits, confidence_scores

BACKBONES = (
    residual_classifier,
    cells_reading_two_back,
    dense_block_classifier,
    token_classifier,
)


def images_of(model, count=5):
    shape = (count, *model.input_shape[1:])
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_last_exit_is_the_model_bit_for_bit(backbone):
    model = backbone()
    attached = ta.attach_exits(model, num_exits=3)
    images = images_of(model)
    np.testing.assert_array_equal(attached(images)[-1], model(images))
    assert len(attached.outputs) == 3
    assert {id(w) for w in model.weights} <= {id(w) for w in attached.weights}


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("head", ["linear", "conv"])
def test_stages_are_the_model_and_early_exit_the_simulation(backbone, head):
    model = backbone()
    if backbone is token_classifier and head == "conv":
        pytest.skip("tokens have no convolutions")
    attached = ta.attach_exits(model, num_exits=3, head=head)
    images = images_of(model, 64)
    logits = [tf.constant(exit) for exit in attached(images)]
    state = images
    for stage, expected in zip(ta.split_stages(attached), logits, strict=True):
        answer, state = stage(state)
        np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-5)
    scores = np.stack([np.asarray(confidence_scores(exit)) for exit in logits])
    # Half-way between two samples' confidences, so that rounding moves nobody.
    thresholds = [np.mean(np.sort(score)[31:33]) for score in scores[:-1]]
    answer = ta.EarlyExit(attached, thresholds)(images)
    exits = choose_exits(scores, thresholds)
    np.testing.assert_array_equal(answer["exit"], exits)
    classes = np.stack([exit.numpy().argmax(-1) for exit in logits])
    np.testing.assert_array_equal(answer["class"], classes[exits - 1, np.arange(64)])


def test_exits_are_nearest_to_equal_shares():
    model = residual_classifier()
    places = ta.exit_places(model)
    shares = {place.layer: place.macs_share for place in places}
    attached = ta.attach_exits(model, num_exits=3)
    stages = ta.split_stages(attached)
    (first,), (second,) = stages[0].state, stages[1].state
    assert first == min(shares, key=lambda name: abs(shares[name] - 1 / 3))
    assert second == min(shares, key=lambda name: abs(shares[name] - 2 / 3))
    # As many exits as there are places, and the last.
    every = ta.split_stages(ta.attach_exits(model, num_exits=len(places) + 1))
    assert [list(stage.state) for stage in every[:-1]] == [[place.layer] for place in places]


def test_exits_at_named_layers_are_in_order_of_cost():
    attached = ta.attach_exits(residual_classifier(), at=["wide_project", "block_1"])
    stages = ta.split_stages(attached)
    assert [list(stage.state) for stage in stages] == [["block_1"], ["wide_project"], []]
    costs = [cost.macs for cost in ta.profile(attached)]
    assert costs == sorted(costs)


def test_a_softmax_is_taken_off_and_said_so():
    model = residual_classifier(activation="softmax")
    with pytest.warns(UserWarning, match="softmax at the end of 'residual' is taken off"):
        attached = ta.attach_exits(model, num_exits=2)
    images = images_of(model)
    np.testing.assert_array_equal(keras.ops.softmax(attached(images)[-1]), model(images))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ta.attach_exits(residual_classifier(), num_exits=2)


def test_a_function_as_head():
    def head(features):
        pooled = layers.GlobalMaxPooling2D()(features)
        return layers.Dense(3)(layers.Dense(5, activation="relu")(pooled))

    attached = ta.attach_exits(residual_classifier(), num_exits=3, head=head)
    images = images_of(attached)
    assert [tuple(exit.shape) for exit in attached(images)] == [(5, 3)] * 3
    with pytest.raises(ta.InputError, match=r"`head` must give logits of shape \(None, 3\)"):
        ta.attach_exits(residual_classifier(), head=lambda features: features)


def test_the_class_token_or_the_mean():
    model = token_classifier()
    images = images_of(model)
    tokens = keras.Model(model.input, model.get_layer("block_1").output)(images).numpy()
    for kind, pooled in (("first", lambda x: x[:, 0]), ("mean", lambda x: x.mean(axis=1))):
        attached = ta.attach_exits(model, at=["block_1"], tokens=kind)
        centred = tokens - tokens.mean(-1, keepdims=True)
        normalized = centred / np.sqrt(tokens.var(-1, keepdims=True) + 1e-3)
        layer = attached.get_layer("exit_1")
        expected = pooled(normalized) @ layer.kernel.numpy() + layer.bias.numpy()
        np.testing.assert_allclose(attached(images)[0], expected, rtol=1e-4, atol=1e-5)


def test_preprocessing_nested_models_and_dropout():
    inner = residual_classifier()
    images = keras.Input((16, 16, 3), dtype="uint8")
    x = layers.Rescaling(1 / 255)(images)
    x = layers.RandomFlip(name="flip")(x)
    model = keras.Model(images, inner(x))
    attached = ta.attach_exits(model, num_exits=3)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype("uint8")
    expected = model(pixels, training=False)
    np.testing.assert_array_equal(attached(pixels, training=False)[-1], expected)
    # Nothing is flipped where images leave early.
    answer = ta.EarlyExit(attached, [1.0, 1.0])(pixels)
    np.testing.assert_allclose(answer["probabilities"], keras.ops.softmax(expected), rtol=1e-5)
    assert len(ta.profile(attached)) == 3


def test_several_inputs():
    image = keras.Input((16, 16, 3), name="image")
    mask = keras.Input((16, 16, 1), name="mask")
    inner = residual_classifier()
    joined = layers.Conv2D(3, 1)(layers.Concatenate()([image, mask]))
    model = keras.Model([image, mask], inner(joined))
    attached = ta.attach_exits(model, num_exits=3)
    given = [images_of(inner), np.ones((5, 16, 16, 1), "float32")]
    np.testing.assert_array_equal(attached(given)[-1], model(given))
    answer = ta.EarlyExit(attached, [1.0, 1.0])(given)
    np.testing.assert_array_equal(answer["exit"], [3] * 5)


def test_a_network_in_bfloat16_gives_float32_logits():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = residual_classifier()
    finally:
        keras.config.set_dtype_policy(policy)
    for head in ("linear", "conv"):
        attached = ta.attach_exits(model, num_exits=3, head=head)
        assert [exit.dtype for exit in attached.outputs] == ["float32", "float32", "bfloat16"]
        assert all(np.isfinite(exit).all() for exit in map(np.asarray, attached(images_of(model))))


def test_saved_and_loaded(tmp_path):
    attached = ta.attach_exits(residual_classifier(), num_exits=3, head="conv")
    attached.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    images = images_of(attached)
    for ours, theirs in zip(loaded(images), attached(images), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_exits": 6}, "must be at most 5 exits .* has 4 places.*Received: 6 exits"),
        ({"num_exits": 1}, "`num_exits` must be a whole number from 2"),
        ({"at": ["blok_1"]}, "'blok_1'. Did you mean 'block_1'?"),
        ({"at": ["block_2_a"]}, "'block_2_a', no such place; the nearest is 'block_"),
        ({"at": ["block_1", "block_1"]}, "a layer of its own"),
        ({"at": []}, "list of names"),
        ({"at": "block_1"}, "list of names"),
        ({"head": "convolutional"}, "Did you mean 'conv'?"),
        ({"tokens": "last"}, "`tokens` must be one of mean, first"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ta.InputError, match=message):
        ta.attach_exits(residual_classifier(), **arguments)


def test_convolutions_on_tokens_are_refused():
    with pytest.raises(ta.InputError, match="'linear' or a function where an exit reads tokens"):
        ta.attach_exits(token_classifier(), num_exits=2, head="conv")


def test_a_layer_called_as_an_exit_is_refused():
    attached = ta.attach_exits(residual_classifier(), num_exits=2)
    model = keras.Model(attached.input, attached.outputs[0])
    with pytest.raises(ta.InputError, match="'exit_1"):
        ta.attach_exits(model, num_exits=2)
