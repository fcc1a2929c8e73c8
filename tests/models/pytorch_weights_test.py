import functools

import keras
import numpy as np
import pytest

from tests.reference_networks import reference_network, reference_state_dict
from tf_adaptive import RANet
from tf_adaptive.errors import InputError
from tf_adaptive.models.pytorch_names import published_sources
from tf_adaptive.models.pytorch_weights import load_pytorch_weights, published_num_classes

MSDNET = "msdnet_cifar10_even6"
RANET = "ranet_cifar10_lg3"


@functools.cache
def network(name):
    """A model on images a little larger than the published network's, and the arrays of that."""
    return reference_network(name, input_shape=(48, 40, 3)), reference_state_dict(name)


def on_larger_images(published, places):
    """`published` with linear layers that read `places` pixels of the pooled map."""
    rng = np.random.default_rng(0)
    return {
        name: rng.standard_normal((len(array), places * array.shape[1])) / 10
        if name.endswith("linear.weight")
        else array
        for name, array in published.items()
    }


def test_linear_layers_read_a_larger_map_in_pytorchs_order():
    model = reference_network(MSDNET, input_shape=(64, 96, 3))
    weights = on_larger_images(reference_state_dict(MSDNET), places=2 * 3)
    load_pytorch_weights(model, weights)
    pools = [model.get_layer(f"stage_{number}_exit_pool").output for number in (1, 6)]
    both = keras.Model(model.input, [*pools, model.outputs[0], model.outputs[5]])
    images = np.random.default_rng(0).standard_normal((2, 64, 96, 3)).astype("float32")
    outputs = both.predict_on_batch(images)
    for exit_index, pooled, logits in zip((0, 5), outputs[:2], outputs[2:], strict=True):
        assert pooled.shape == (2, 2, 3, 128)
        flattened = pooled.transpose(0, 3, 1, 2).reshape(2, -1)
        expected = flattened @ weights[f"classifier.{exit_index}.linear.weight"].T
        expected += weights[f"classifier.{exit_index}.linear.bias"]
        np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        (MSDNET, "module."),
        (RANET, "module."),
        (MSDNET, "_orig_mod."),
        (MSDNET, "module._orig_mod."),
        (MSDNET, "_orig_mod.module.module."),
    ],
)
def test_what_other_tools_put_around_and_count_is_left_aside(name, prefix):
    model, published = network(name)
    load_pytorch_weights(model, published)
    plain = model.get_weights()
    for variable in model.weights:
        variable.assign(keras.ops.zeros_like(variable))
    counters = {
        key.replace("running_mean", "num_batches_tracked"): np.array(7)
        for key in published
        if key.endswith("running_mean")
    }
    counters |= {
        counter: np.array([7.0])
        for counter in ("total_ops", "blocks.0.0.total_params", "n_averaged", "num_updates")
    }
    prefixed = {f"{prefix}{key}": array for key, array in {**published, **counters}.items()}
    load_pytorch_weights(model, prefixed)
    for before, after in zip(plain, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            MSDNET,
            {"classifier.5.linear.bias": None},
            "Missing: 'classifier.5.linear.bias' \\(1 missing in all\\)",
        ),
        (
            MSDNET,
            {"blocks.0.0.layers.0.net.1.running_var": None, "classifier.2.linear.weight": None},
            "Missing: 'blocks.0.0.layers.0.net.1.running_var' \\(2 missing in all\\)",
        ),
        (
            RANET,
            {"scale_flows.2.1.layers.3.conv_up.net.3.weight": None},
            "Missing: 'scale_flows.2.1.layers.3.conv_up.net.3.weight' \\(1 missing in all\\)",
        ),
        (
            MSDNET,
            {"classifier.6.linear.bias": np.zeros(10)},
            "Left over: 'classifier.6.linear.bias' \\(1 left over in all\\)",
        ),
        (
            RANET,
            {"scale_flows.0.0.conv_last.net.0.weight": np.zeros((14, 112, 1, 1))},
            "Left over: 'scale_flows.0.0.conv_last.net.0.weight' \\(1 left over in all\\)",
        ),
        (
            MSDNET,
            {"classifier.5.linear.bias": np.zeros(11)},
            "'classifier.5.linear.bias' must fit .*\\(10,\\). Received: shape \\(11,\\)",
        ),
        (
            MSDNET,
            {"classifier.5.linear.weight": np.zeros((10, 129))},
            "'classifier.5.linear.weight' must fit .* Received: shape \\(10, 129\\)",
        ),
        (
            MSDNET,
            {"blocks.0.0.layers.0.net.0.weight": np.zeros((16, 3, 3))},
            "'blocks.0.0.layers.0.net.0.weight' must fit .* Received: shape \\(16, 3, 3\\)",
        ),
        (
            MSDNET,
            {"blocks.0.0.layers.0.net.0.weight": np.zeros((3, 3, 3, 16))},
            "'blocks.0.0.layers.0.net.0.weight' must fit .* Received: shape \\(3, 3, 3, 16\\)",
        ),
        (
            RANET,
            {"scale_flows.1.1.trans.net.0.weight": np.zeros((74, 147, 1, 1))},
            "'scale_flows.1.1.trans.net.0.weight' must fit .* Received: shape \\(74, 147, 1, 1\\)",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(name, change, message):
    model, published = network(name)
    before = model.get_weights()
    arrays = {**published, **change}
    with pytest.raises(InputError, match=message):
        load_pytorch_weights(model, {k: v for k, v in arrays.items() if v is not None})
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_names_of_an_imagenet_ranets_stem():
    model = RANet.from_preset(
        "ranet_cifar_lg3",
        input_shape=(64, 64, 3),
        stem="imagenet",
        num_blocks=1,
        block_step=1,
        layer_step=1,
        scales=(1, 2),
        scale_growth=(4, 4),
        scale_bottleneck=(1, 1),
    )
    finest = "stage_1_stem_subnetwork_2_convolution"
    coarsest = "stage_1_stem_subnetwork_1"
    assert {
        name: variable.path
        for name, (variable, _) in published_sources(model).items()
        if name.startswith("FirstLayer")
    } == {
        "FirstLayer.layers.0.0.weight": f"{finest}/convolution/kernel",
        "FirstLayer.layers.0.0.bias": f"{finest}/convolution/bias",
        "FirstLayer.layers.0.1.weight": f"{finest}/batch_normalization/gamma",
        "FirstLayer.layers.0.1.bias": f"{finest}/batch_normalization/beta",
        "FirstLayer.layers.0.1.running_mean": f"{finest}/batch_normalization/moving_mean",
        "FirstLayer.layers.0.1.running_var": f"{finest}/batch_normalization/moving_variance",
        "FirstLayer.layers.1.net.0.weight": f"{coarsest}/convolution/kernel",
        "FirstLayer.layers.1.net.1.weight": f"{coarsest}/batch_normalization/gamma",
        "FirstLayer.layers.1.net.1.bias": f"{coarsest}/batch_normalization/beta",
        "FirstLayer.layers.1.net.1.running_mean": f"{coarsest}/batch_normalization/moving_mean",
        "FirstLayer.layers.1.net.1.running_var": f"{coarsest}/batch_normalization/moving_variance",
    }


def test_refuses_a_model_that_is_neither():
    images = keras.Input((8, 8, 3))
    features = keras.layers.GlobalAveragePooling2D()(images)
    other = keras.Model(images, [keras.layers.Dense(2, name=f"exit_{k}")(features) for k in (1, 2)])
    with pytest.raises(
        InputError, match="`model` must be an MSDNet, .* EfficientNetLite .* no layers"
    ):
        load_pytorch_weights(other, {})


def test_refuses_an_array_that_is_there_twice():
    model, published = network(MSDNET)
    twice = {**published, "_orig_mod.classifier.0.linear.bias": np.zeros(10)}
    with pytest.raises(InputError, match="'classifier.0.linear.bias' twice, .* as '_orig_mod"):
        load_pytorch_weights(model, twice)


def test_number_of_classes():
    assert published_num_classes({"classifier.0.linear.bias": np.zeros(10)}) == 10
    assert published_num_classes({"module.classifier.0.linear.bias": np.zeros(7)}) == 7
    assert published_num_classes({"_orig_mod.classifier.0.linear.bias": np.zeros(7)}) == 7
    with pytest.raises(InputError, match="'classifier.0.linear.bias'. Received: \\['fc.bias'\\]"):
        published_num_classes({"fc.bias": np.zeros(7)})
