import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tiny_networks import tiny_collaborating, tiny_msdnet, tiny_ranet
from tf_adaptive import InputError, fold_batch_norm, profile, split_stages, with_quantization
from tf_adaptive.compression.quantization import is_quantized, quantizer_of
from tf_adaptive.graph.calls import calls_before
from tf_adaptive.layers import FakeQuantize


def images_for(model, count=24):
    return np.random.default_rng(0).normal(size=(count, *model.input_shape[1:])).astype("float32")


@dataclasses.dataclass(frozen=True)
class Networks:
    """A network, the same with batch norms folded and quantized, and what was measured on."""

    model: keras.Model
    folded: keras.Model
    quantized: keras.Model
    images: np.ndarray


@pytest.fixture(scope="module", params=[tiny_msdnet, tiny_collaborating, tiny_ranet])
def networks(request):
    keras.utils.set_random_seed(0)
    model = request.param()
    images = images_for(model)
    return Networks(model, fold_batch_norm(model), with_quantization(model, images), images)


def test_answers_nearly_as_the_network(networks):
    assert is_quantized(networks.quantized) and not is_quantized(networks.model)
    expected = networks.model(networks.images, training=False)
    for ours, theirs in zip(networks.quantized(networks.images), expected, strict=True):
        assert 0 < np.abs(ours - theirs).mean() < 0.03 * np.ptp(theirs)


def test_stages_and_costs_are_the_network_s(networks):
    expected, received = (
        [(row.macs, row.lazy_macs, row.parameters, row.state_bytes) for row in profile(network)]
        for network in (networks.folded, networks.quantized)
    )
    assert received == expected


def test_state_has_256_numbers(networks):
    state = networks.images
    expected = networks.quantized(networks.images)
    for stage, logits in zip(split_stages(networks.quantized), expected, strict=True):
        received, state = stage(state)
        np.testing.assert_array_equal(received, logits)
        for tensor in (received, *state.values()):
            assert len(np.unique(tensor)) <= 256


def test_ranges_are_those_of_the_images(networks):
    quantized, images = networks.quantized, networks.images
    layer = quantized.get_layer(f"{networks.model.inputs[0].name}_quantized")
    np.testing.assert_allclose(layer.get_weights(), [images.min(), images.max()])
    for logits, exit in zip(networks.folded(images), quantized.outputs, strict=True):
        expected = [min(np.min(logits), 0), max(np.max(logits), 0)]
        np.testing.assert_allclose(quantizer_of(exit).get_weights(), expected, rtol=1e-5)
    # Bottlenecks are joined with nothing.
    name = next(layer.name for layer in quantized.layers if layer.name.endswith("_bottleneck"))
    features = keras.Model(networks.folded.input, networks.folded.get_layer(name).output)(images)
    expected = quantized.get_layer(f"{name}_quantized").maximum.numpy()
    np.testing.assert_allclose(expected, np.max(features), rtol=1e-5)


def test_what_is_joined_has_one_range(networks):
    joined = [
        node.input_tensors
        for node in calls_before(networks.quantized.outputs)
        if isinstance(node.operation, keras.layers.Concatenate)
    ]
    assert len(joined) > 3
    for tensors in joined:
        ranges = [quantizer_of(tensor).get_weights() for tensor in tensors]
        assert all(bounds == ranges[0] for bounds in ranges)
        for tensor, (_, largest) in zip(tensors, ranges, strict=True):
            name = quantizer_of(tensor).name.removesuffix("_quantized")
            tensor = networks.folded.get_layer(name).output
            features = keras.Model(networks.folded.input, tensor)(networks.images)
            assert np.max(features) <= largest * (1 + 1e-5)
    # Not all ranges are the same.
    quantizers = [layer for layer in networks.quantized.layers if isinstance(layer, FakeQuantize)]
    assert len({float(layer.maximum.numpy()) for layer in quantizers}) > 5


def test_every_weight_gets_a_gradient(networks):
    with tf.GradientTape() as tape:
        answers = networks.quantized(networks.images, training=True)
        loss = sum(keras.ops.mean(keras.ops.logsumexp(logits, -1)) for logits in answers)
    variables = [variable.value for variable in networks.quantized.trainable_variables]
    assert len(variables) == len(networks.folded.trainable_variables)
    for gradient in tape.gradient(loss, variables):
        assert gradient is not None and np.all(np.isfinite(gradient))


def test_saved_and_loaded(networks, tmp_path):
    networks.quantized.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = networks.quantized(networks.images)
    # Folding copies what has no batch norm, ranges too.
    for network in (loaded, fold_batch_norm(networks.quantized)):
        assert is_quantized(network)
        for ours, theirs in zip(network(networks.images), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def two_exits(layer):
    images = keras.Input((8, 8, 3))
    features = layer(images)
    return keras.Model(
        images,
        [
            keras.layers.Dense(2)(keras.layers.Flatten()(tensor))
            for tensor in (features, layer(features))
        ],
    )


def test_bad_input(networks):
    images = networks.images
    with pytest.raises(InputError, match="in float32. Received: one in 8 bits already"):
        with_quantization(networks.quantized, images)
    with pytest.raises(InputError, match="`images` must be one image or more. Received: none"):
        with_quantization(networks.model, images[:0])


def test_networks_of_other_layers():
    with pytest.raises(InputError, match="layers of MSDNet and RANet.*'blurred', a GaussianNoise"):
        with_quantization(
            two_exits(keras.layers.GaussianNoise(0.1, name="blurred")), np.zeros((1, 8, 8, 3))
        )
    shared = keras.layers.ReLU(name="shared")
    with pytest.raises(InputError, match="each called once. Received: 'shared', called twice"):
        with_quantization(two_exits(shared), np.zeros((1, 8, 8, 3)))
    first, second = keras.Input((4,)), keras.Input((4,))
    outputs = [keras.layers.Dense(2)(tensor) for tensor in (first, second)]
    with pytest.raises(InputError, match="must have one input, images. Received: 2 inputs"):
        with_quantization(keras.Model([first, second], outputs), np.zeros((1, 4)))
