import keras
import numpy as np
import pytest
from keras import layers

import tf_adaptive as ta
from tests.exits.backbones import (
    cells_reading_two_back,
    dense_block_classifier,
    residual_classifier,
    token_classifier,
)


def names(places):
    return [place.layer for place in places]


def test_places_are_the_ends_of_blocks_and_not_their_insides():
    places = ta.exit_places(residual_classifier())
    # Not the wide inside of the bottleneck, not the last map, which the last exit itself reads.
    assert names(places) == ["stem_relu", "block_1", "block_2", "wide_project"]
    assert [place.shape for place in places] == [(16, 16, 8)] * 3 + [(8, 8, 16)]
    assert [place.state_bytes for place in places] == [16 * 16 * 8 * 4] * 3 + [8 * 8 * 16 * 4]
    assert all(place.hands_on == (place.layer,) for place in places)


def test_shares_are_those_of_the_profile():
    model = residual_classifier()
    places = ta.exit_places(model)
    attached = ta.attach_exits(model, at=names(places))
    costs = ta.profile(attached)
    heads = [
        np.prod(place.shape) + place.shape[-1] * 3 + 3 for place in places
    ]  # pooling, and a linear layer with its bias
    whole = costs[-1].macs - sum(heads)
    for index, (place, cost) in enumerate(zip(places, costs, strict=False)):
        assert place.macs_share == (cost.macs - sum(heads[: index + 1])) / whole


def test_two_maps_where_one_does_not_suffice():
    places = ta.exit_places(cells_reading_two_back())
    assert names(places) == ["stem", "cell_0", "cell_1", "cell_2"]
    assert [place.hands_on for place in places] == [
        ("stem",),
        ("stem", "cell_0"),
        ("cell_0", "cell_1"),
        ("cell_1", "cell_2"),
    ]
    assert places[1].state_bytes == 2 * 8 * 8 * 4 * 4


def test_a_dense_block_has_places_between_its_layers():
    places = ta.exit_places(dense_block_classifier())
    assert names(places) == ["stem", "concat_1", "concat_2", "concat_3", "transition_pool"]


def test_tokens_of_a_transformer():
    places = ta.exit_places(token_classifier())
    assert names(places)[-2:] == ["block_2", "attended_3"]
    assert places[-1].shape == (17, 8)


def test_nested_models_are_opened():
    inner = residual_classifier()
    images = keras.Input((16, 16, 3))
    scaled = layers.Rescaling(1 / 255, name="scale")(images)
    model = keras.Model(images, inner(scaled))
    assert names(ta.exit_places(model)) == names(ta.exit_places(inner))
    sequential = keras.Sequential([keras.Input((16, 16, 3)), layers.Rescaling(1 / 255), inner])
    assert names(ta.exit_places(sequential)) == names(ta.exit_places(inner))


def test_every_place_cuts_the_graph():
    for model in (residual_classifier(), cells_reading_two_back(), dense_block_classifier()):
        for place in ta.exit_places(model):
            stages = ta.split_stages(ta.attach_exits(model, at=[place.layer]))
            assert set(stages[0].state) == set(place.hands_on)


def test_half_precision_halves_the_state():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        halved = ta.exit_places(residual_classifier())
    finally:
        keras.config.set_dtype_policy(policy)
    whole = ta.exit_places(residual_classifier())
    assert [2 * place.state_bytes for place in halved] == [place.state_bytes for place in whole]


class Subclassed(keras.Model):
    def call(self, images):
        return images


def two_outputs():
    model = residual_classifier()
    return keras.Model(model.input, [model.output, model.output])


def channels_first():
    images = keras.Input((3, 8, 8))
    x = layers.Conv2D(4, 3, data_format="channels_first", name="first")(images)
    x = layers.GlobalAveragePooling2D(data_format="channels_first")(x)
    return keras.Model(images, layers.Dense(3)(x))


def any_size():
    images = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="sized")(images))
    return keras.Model(images, layers.Dense(3)(x))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Subclassed, "functional or sequential keras.Model.*Received: Subclassed"),
        (two_outputs, "one output.*Received: 2 outputs"),
        (channels_first, "channels last.*'first'"),
        (any_size, "give its Input a height and a width.*'sized'"),
    ],
)
def test_refusals(model, message):
    with pytest.raises(ta.InputError, match=message):
        ta.exit_places(model())
