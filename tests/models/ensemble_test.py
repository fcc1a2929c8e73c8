import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.models.network_checks import (
    assert_every_parameter_gets_a_gradient,
    assert_stages_and_early_exit_are_the_model,
    assert_the_same_when_folded,
    assert_the_same_when_loaded_again,
    random_images,
)
from tf_adaptive import DenseNet, Ensemble, ResNet, profile, split_stages
from tf_adaptive.errors import InputError
from tf_adaptive.graph.macs import parameters_of
from tf_adaptive.routing.costs import classifier_macs


def tiny_resnet(blocks=1, **overrides):
    arguments = {
        "input_shape": (16, 16, 3),
        "num_classes": 5,
        "blocks": (blocks, blocks),
        "block": "basic",
        "widths": (4, 8),
        "stem": "cifar",
        "shortcut": "padded",
    }
    return ResNet(**{**arguments, **overrides})


def tiny_densenet():
    return DenseNet(
        input_shape=(16, 16, 3),
        num_classes=5,
        block_layers=(1, 1),
        growth_rate=3,
        stem_channels=6,
    )


def tiny_members():
    return [tiny_resnet(1), tiny_resnet(2), tiny_densenet()]


def keras_classifier(name=None):
    """With an operation that is no layer, and a nested model."""
    images = keras.Input((16, 16, 3))
    inner = keras.Sequential([layers.Conv2D(4, 3, name="inner_convolution"), layers.ReLU()])
    features = keras.ops.mean(inner(images), axis=(1, 2))
    return keras.Model(images, layers.Dense(5)(features), name=name)


def test_every_exit_is_the_mean_of_the_members_so_far():
    members = tiny_members()
    model = Ensemble(members)
    images = random_images(model)
    own = np.stack([tf.nn.softmax(member(images)) for member in members])
    np.testing.assert_array_equal(model(images)[0], members[0](images))
    for count, logits in enumerate(model(images), start=1):
        np.testing.assert_allclose(tf.nn.softmax(logits), own[:count].mean(axis=0), rtol=1e-5)


def test_members_are_copied():
    members = tiny_members()
    model = Ensemble(members)
    images = random_images(model)
    before = [np.asarray(logits) for logits in model(images)]
    for member in members:
        member.set_weights([np.zeros_like(array) for array in member.get_weights()])
    for logits, same in zip(model(images), before, strict=True):
        np.testing.assert_array_equal(logits, same)


def test_every_stage_runs_one_member_and_costs_what_it_costs():
    members = tiny_members()
    model = Ensemble(members)
    for cost, count in zip(profile(model), (1, 2, 3), strict=True):
        assert cost.parameters == sum(parameters_of(m.layers) for m in members[:count])
        macs = sum(classifier_macs(member, 16) for member in members[:count])
        # Two times five probabilities for each mean.
        assert cost.macs == cost.lazy_macs == macs + 10 * (count - 1)
    for stage in split_stages(model)[:-1]:
        assert [tensor.shape[1:] for tensor in stage.state.values()] == [(16, 16, 3), (5,)]


def test_stages_and_early_exit_are_the_model():
    assert_stages_and_early_exit_are_the_model(Ensemble(tiny_members()))


def test_saved_and_loaded_again(tmp_path):
    members = [*tiny_members(), keras_classifier()]
    assert_the_same_when_loaded_again(Ensemble(members, name="a_name"), tmp_path)


def test_members_of_any_origin():
    members = [keras_classifier("small"), keras_classifier("large")]
    model = Ensemble(members)
    images = random_images(model)
    own = np.mean([tf.nn.softmax(member(images)) for member in members], axis=0)
    np.testing.assert_allclose(tf.nn.softmax(model(images)[1]), own, rtol=1e-5)
    assert_stages_and_early_exit_are_the_model(model)


def test_bfloat16_members_give_float32(tmp_path):
    members = [tiny_resnet(blocks, dtype="mixed_bfloat16") for blocks in (1, 2)]
    model = Ensemble(members)
    assert {logits.dtype for logits in model(random_images(model))} == {tf.float32}
    assert_the_same_when_loaded_again(model, tmp_path)


def test_every_trainable_parameter_gets_a_gradient():
    assert_every_parameter_gets_a_gradient(Ensemble(tiny_members()))


def test_without_a_batch_norm():
    assert_the_same_when_folded(Ensemble([tiny_resnet(1), tiny_resnet(2)]), left=[])


def test_preset_takes_the_members_arguments():
    model = Ensemble.from_preset("ensemble_densenet_cifar", num_classes=7, input_shape=(8, 8, 1))
    assert model.input_shape == (None, 8, 8, 1)
    assert [tuple(logits.shape) for logits in model.outputs] == [(None, 7)] * 2


@pytest.mark.large
@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        ("ensemble_resnet_cifar", [269_722, 733_876, 1_392_462, 2_245_480]),
        ("ensemble_densenet_cifar", [176_122, 945_284]),
        ("ensemble_resnet_imagenet", [5_418_792, 17_108_304, 38_905_976, 64_463_008]),
    ],
)
def test_presets_are_their_networks_one_after_another(preset, parameters):
    costs = profile(Ensemble.from_preset(preset))
    assert [cost.parameters for cost in costs] == parameters


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (lambda: [], "`members` must be a list of two networks or more. Received: 0"),
        (lambda: [tiny_resnet()], "`members` must be a list of two networks or more"),
        (lambda: [tiny_resnet(), "resnet18"], "Every one of `members` must be a functional"),
        (lambda: [tiny_resnet(), tiny_resnet(2, exit_blocks=(1,))], "Every one of `members`"),
        (lambda: [tiny_resnet(), tiny_resnet(num_classes=4)], "the same output shape.*\\(4,\\)"),
        (
            lambda: [tiny_resnet(), tiny_resnet(input_shape=(8, 8, 3))],
            "the same input shape.*\\(8, 8, 3\\)",
        ),
    ],
)
def test_refuses(members, message):
    with pytest.raises(InputError, match=message):
        Ensemble(members())


def test_unknown_preset():
    with pytest.raises(InputError, match="`preset` must be one of .* Did you mean"):
        Ensemble.from_preset("ensemble_resnets_cifar")
