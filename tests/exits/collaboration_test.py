import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.reference_networks import read_reference, reference_weight
from tests.training.tiny_training import CLASSES, tiny_model
from tf_adaptive import (
    EarlyExit,
    MSDNet,
    load_pytorch_weights,
    profile,
    split_stages,
    with_collaboration,
)
from tf_adaptive.errors import InputError
from tf_adaptive.exits.linear_exits import linear_exits, split_heads, with_own_exits
from tf_adaptive.exits.thresholds import choose_exits, confidence_scores

REFERENCE = "imta_cifar100_lingrow5"


def images(batch=6):
    return np.random.default_rng(0).standard_normal((batch, 8, 8, 1)).astype("float32")


@pytest.fixture
def collaborating():
    """A network whose exits make use of the prediction before."""
    keras.utils.set_random_seed(0)
    model = with_collaboration(tiny_model())
    generator = np.random.default_rng(1)
    for weight in model.get_layer("collaborating_exit_2").weights:
        weight.assign(generator.standard_normal(weight.shape))
    return model


def test_is_the_published_network():
    model = with_collaboration(MSDNet.from_preset("msdnet_cifar_lingrow5"))
    reference = read_reference(REFERENCE)
    state_dict = {name: reference_weight(name, shape) for name, shape in reference["weights"]}
    load_pytorch_weights(model, state_dict)
    pixels = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype("float32")
    for ours, published in zip(model.predict_on_batch(pixels), reference["logits"], strict=True):
        assert np.linalg.norm(ours - published) <= 1e-4 * np.linalg.norm(published)
    # Phase I's own linear layers, which collaborating exits take the place of.
    unused = [name for name in state_dict if name.startswith("net.") and ".linear." in name]
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable + sum(state_dict[name].size for name in unused) == reference["parameters"]

    del state_dict["isc_modules.0.0.weight"]
    with pytest.raises(InputError, match="Missing: 'isc_modules.0.0.weight'"):
        load_pytorch_weights(model, state_dict)


def test_starts_as_the_network_it_was_made_from():
    model = tiny_model()
    for rebuilt in (with_collaboration(model), with_own_exits(model)):
        for ours, logits in zip(rebuilt(images()), model(images()), strict=True):
            np.testing.assert_array_equal(ours, logits)
        shared = {id(layer) for layer in model.layers} & {id(layer) for layer in rebuilt.layers}
        assert len(shared) == len(model.layers) - len(model.outputs)
    layer, _ = linear_exits(model)[0]
    layer.bias.assign(layer.bias + 1)
    assert not np.array_equal(with_own_exits(model)(images())[0], rebuilt(images())[0])


def test_an_exit_sees_the_prediction_before_by_the_formula(collaborating):
    def weights(name):
        return [weight.numpy() for weight in collaborating.get_layer(name).weights]

    _, features = (node_features for _, node_features in linear_exits(collaborating))
    (first, second), beside = (
        collaborating(images()),
        keras.Model(collaborating.input, features)(images()).numpy(),
    )
    kernel, bias = weights("exit_2_collaboration_linear")
    scale, shift, mean, variance = weights("exit_2_collaboration_normalization")
    prediction = (first.numpy() @ kernel + bias - mean) / np.sqrt(variance + 1e-5) * scale + shift
    width = beside.shape[1] // 2
    np.testing.assert_allclose(beside[:, width:], np.maximum(prediction, 0), atol=1e-5)
    kernel, bias = weights("collaborating_exit_2")
    np.testing.assert_allclose(second, beside @ kernel + bias, atol=1e-5)


@pytest.mark.parametrize("path", ["features", "identity"])
def test_the_paths_it_is_compared_with(path):
    model = tiny_model()
    compared = with_collaboration(model, path=path)
    for ours, logits in zip(compared(images()), model(images()), strict=True):
        np.testing.assert_array_equal(ours, logits)
    (_, before), (_, beside) = linear_exits(compared)[:2]
    answers = keras.Model(compared.input, [before, compared.outputs[0], beside])(images())
    before, first, beside = (tensor.numpy() for tensor in answers)
    if path == "identity":
        np.testing.assert_array_equal(beside[:, -CLASSES:], first)
    else:
        kernel, bias = compared.get_layer("exit_2_collaboration_linear").weights
        # As it starts, batch norm is but its ε.
        learnt = np.maximum((before @ kernel.numpy() + bias.numpy()) / np.sqrt(1 + 1e-5), 0)
        np.testing.assert_allclose(beside[:, -learnt.shape[1] :], learnt, atol=1e-5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(compared(images())[1]))
    exit_before = compared.get_layer("collaborating_exit_1").kernel.value
    assert tape.gradient(loss, exit_before) is None


def test_refuses_another_path():
    with pytest.raises(InputError, match="`path` must be one of prediction, features, identity"):
        with_collaboration(tiny_model(), path="logits")


def test_no_gradient_flows_into_the_exit_before(collaborating):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(collaborating(images())[1]))
    layers = ("collaborating_exit_1", "exit_2_collaboration_linear", "collaborating_exit_2")
    kernels = [collaborating.get_layer(name).kernel.value for name in layers]
    before, path, own = tape.gradient(loss, kernels)
    assert before is None
    assert np.any(path)
    assert np.any(own)


def test_early_exit_and_stages_run_on_it(collaborating):
    stages = split_stages(collaborating)
    assert "collaborating_exit_1" in stages[1].takes
    logits = [exit.numpy() for exit in collaborating(images())]
    confidences = np.stack([np.asarray(confidence_scores(exit)) for exit in logits])
    threshold = float(np.sort(confidences[0])[2:4].mean())
    answer = EarlyExit(collaborating, [threshold])(images())
    exits = choose_exits(confidences, [threshold])
    np.testing.assert_array_equal(answer["exit"], exits)
    chosen = [logits[exit - 1][row].argmax() for row, exit in enumerate(exits)]
    np.testing.assert_array_equal(answer["class"], chosen)
    assert set(exits) == {1, 2}


def test_costs_what_it_computes(collaborating):
    plain, ours = profile(tiny_model()), profile(collaborating)
    assert ours[0] == plain[0].__class__(**{**vars(plain[0]), "state_bytes": ours[0].state_bytes})
    width = 4
    path = CLASSES * width + width + width
    assert ours[1].macs - plain[1].macs == path + width * CLASSES
    assert ours[0].state_bytes - plain[0].state_bytes == CLASSES * 4


def test_saved_and_loaded_again(collaborating, tmp_path):
    collaborating.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for loaded, logits in zip(again(images()), collaborating(images()), strict=True):
        np.testing.assert_array_equal(loaded, logits)


def test_split_heads_are_the_network(collaborating):
    model = tiny_model()
    features = [feature for _, feature in linear_exits(model)]
    backbone, heads = split_heads(with_collaboration(model), features)
    for ours, logits in zip(heads(backbone(images())), model(images()), strict=True):
        np.testing.assert_array_equal(ours, logits)
    names = {weight.path.split("/")[0] for weight in heads.trainable_weights}
    assert names == {
        "collaborating_exit_1",
        "collaborating_exit_2",
        "exit_2_collaboration_linear",
        "exit_2_collaboration_normalization",
    }


def test_refuses():
    model = tiny_model()
    with pytest.raises(InputError, match="2 outputs or more"):
        with_collaboration(keras.Model(model.input, model.outputs[:1]))
    softmax = keras.layers.Softmax(name="sure")(model.outputs[1])
    with pytest.raises(InputError, match="exit 2 is 'sure', a Softmax"):
        with_collaboration(keras.Model(model.input, [model.outputs[0], softmax]))
