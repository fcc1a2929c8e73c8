import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from tf_adaptive import MSDNet, profile
from tf_adaptive.errors import InputError

# The published numbers of MSDNet are checked in tests/models/msdnet_test.py.


def tiny_model(*, dtype=None, side=8):
    """Two exits; the layers of the second are a block of their own, but for one in the first."""
    images = keras.Input((side, side, 3), name="images")
    first = layers.Conv2D(4, 3, padding="same", dtype=dtype, name="stage_1_first")(images)
    ahead = layers.Conv2D(2, 1, dtype=dtype, name="stage_1_ahead")(first)
    second = layers.ReLU(dtype=dtype, name="stage_2_second")(ahead)
    pooled = [layers.GlobalAveragePooling2D(dtype=dtype)(f) for f in (first, second)]
    return keras.Model(images, [layers.Dense(5, dtype="float32")(p) for p in pooled])


def test_numbers_by_hand():
    first = 64 * 4 * 27 + 64 * 4 + (4 * 5 + 5)
    ahead = 64 * 4 * 2
    rest = 64 * 2 + 64 * 2 + (2 * 5 + 5)
    costs = profile(tiny_model())
    assert [cost.exit for cost in costs] == [1, 2]
    # A block's layers are the block's exit's in the papers, whoever needs them.
    assert [cost.macs for cost in costs] == [first + ahead, first + ahead + rest]
    assert [cost.lazy_macs for cost in costs] == [first, first + ahead + rest]
    parameters = (27 * 4 + 4) + (4 * 2 + 2) + 25
    assert [cost.parameters for cost in costs] == [parameters, parameters + 15]
    # The second exit reads the first convolution's 8×8 map of four channels, not the one ahead.
    assert [cost.state_bytes for cost in costs] == [64 * 4 * 4, 0]
    assert [cost.latency_ms for cost in costs] == [None, None]


def test_one_exit():
    model = tiny_model()
    (cost,) = profile(keras.Model(model.input, model.outputs[0]), latency_runs=1)
    (first, _) = profile(model)
    assert (cost.macs, cost.parameters) == (64 * 4 * 27 + 64 * 4 + 25, 27 * 4 + 4 + 25)
    assert (cost.lazy_macs, cost.state_bytes) == (first.lazy_macs, 0)
    assert cost.latency_ms > 0


def test_bfloat16_costs_the_same_but_for_its_state():
    costs = profile(tiny_model(dtype="mixed_bfloat16"))
    assert [cost.state_bytes for cost in costs] == [64 * 4 * 2, 0]
    doubled = [dataclasses.replace(cost, state_bytes=2 * cost.state_bytes) for cost in costs]
    assert doubled == profile(tiny_model())


def test_frozen_layers_cost_the_same():
    model = tiny_model()
    model.trainable = False
    assert profile(model) == profile(tiny_model())


def test_statistics_are_no_parameters():
    model = MSDNet(input_shape=(8, 8, 1), num_classes=3, block_layers=(1, 2))
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert profile(model)[-1].parameters == trainable < model.count_params()


def test_layers_of_any_name_that_a_model_runs_with():
    images = keras.Input((8,), name="images")
    (cost,) = profile(keras.Model(images, layers.Dense(6, name="_x")(images)))
    assert (cost.macs, cost.lazy_macs, cost.parameters) == (8 * 6 + 6, 8 * 6 + 6, 8 * 6 + 6)


def test_layers_called_twice_work_twice_and_count_their_parameters_once():
    images = keras.Input((8, 8, 2), name="images")
    shared = layers.Conv2D(2, 3, padding="same")
    block = keras.Sequential([layers.Conv2D(2, 1), layers.ReLU()])
    head = keras.Sequential([layers.GlobalAveragePooling2D(), layers.Dense(3)])
    features = block(shared(images))
    costs = profile(keras.Model(images, [head(features), head(block(shared(features)))]))
    macs = 64 * 2 * 18 + 64 * 2 * 2 + 64 * 2 + 64 * 2 + 9
    assert [cost.lazy_macs for cost in costs] == [macs, 2 * macs]
    assert [cost.macs for cost in costs] == [macs, 2 * macs]
    assert [cost.parameters for cost in costs] == [(36 + 2) + (4 + 2) + 9] * 2


# The figures of Sandler et al. 2018 and He et al. 2016, who leave out the activations; these add
# about 2 %. Parameters are those that Keras's documentation gives less the moving statistics.
@pytest.mark.parametrize(
    ("application", "middle", "gigamacs", "parameters"),
    [
        (keras.applications.MobileNetV2, "block_9_add", 0.300, 3_504_872),
        (keras.applications.ResNet50, "conv3_block4_out", 3.8, 25_583_592),
    ],
)
def test_keras_applications(application, middle, gigamacs, parameters):
    backbone = application(weights=None)
    features = backbone.get_layer(middle).output
    early = layers.Dense(1000)(layers.GlobalAveragePooling2D()(features))
    channels = features.shape[-1]
    first, last = profile(keras.Model(backbone.input, [early, backbone.output]))
    early_macs = int(np.prod(features.shape[1:])) + channels * 1000 + 1000
    assert (last.lazy_macs - early_macs) / 1e9 == pytest.approx(gigamacs, rel=0.03)
    assert last.parameters == parameters + channels * 1000 + 1000
    assert 0.2 < first.lazy_macs / last.lazy_macs < 0.8
    assert first.macs == first.lazy_macs


def test_latency_is_measured_when_asked():
    first, last = profile(tiny_model(), latency_runs=3)
    assert first.latency_ms > 0
    assert last.latency_ms > 0


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (tiny_model, {"latency_runs": -1}, "`latency_runs` must be 0 or more. Received: -1"),
        (lambda: tiny_model(side=None), {}, "static shapes .* in the layer 'stage_1_first'"),
        (lambda: layers.ReLU(), {}, "functional keras.Model .* ReLU"),
    ],
)
def test_refuses(build, arguments, message):
    with pytest.raises(InputError, match=message):
        profile(build(), **arguments)


def test_an_operation_without_a_rule_is_named():
    images = keras.Input((4, 4), name="images")
    inverse = layers.Lambda(keras.ops.inv, output_shape=(4, 4), name="inverse")(images)
    exits = [layers.Dense(2)(layers.Flatten()(tensor)) for tensor in (images, inverse)]
    with pytest.raises(InputError, match="'MatrixInverse' .* in the layer 'inverse'"):
        profile(keras.Model(images, exits))
