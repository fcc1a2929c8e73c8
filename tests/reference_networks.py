"""The published networks' check values, and the rule that their weights are drawn by."""

import json
import pathlib
import zlib

import numpy as np

from tf_adaptive import MSDNet, RANet

# Reference file → the class and the preset of that network, and what it overrides.
REFERENCE_NETWORKS = {
    "msdnet_cifar100_lingrow5": (MSDNet, "msdnet_cifar_lingrow5", {}),
    "msdnet_cifar10_even6": (
        MSDNet,
        "msdnet_cifar_even7",
        {"block_layers": (4, 2, 2, 2, 2, 2), "num_classes": 10},
    ),
    "msdnet_imagenet_step4": (MSDNet, "msdnet_imagenet_step4", {}),
    "ranet_cifar10_even4": (RANet, "ranet_cifar_even4", {}),
    "ranet_cifar10_lg3": (RANet, "ranet_cifar_lg3", {}),
}


def reference_network(name, **overrides):
    """The network of a reference file, untrained."""
    network, preset, own_overrides = REFERENCE_NETWORKS[name]
    return network.from_preset(preset, **own_overrides, **overrides)


def read_reference(name):
    folder = pathlib.Path(__file__).parent / "reference"
    return json.loads((folder / f"{name}.json").read_text())


def reference_state_dict(name):
    """The arrays that the published network gave its logits with."""
    return {
        parameter: reference_weight(parameter, shape)
        for parameter, shape in read_reference(name)["weights"]
    }


def assert_reference_logits(model, name):
    """Every exit answers the file's images as the published network did."""
    reference = read_reference(name)
    size = reference["input_size"]
    images = np.random.default_rng(0).standard_normal((2, size, size, 3)).astype("float32")
    expected = np.array(reference["logits"])
    for ours, published in zip(model(images), expected, strict=True):
        assert np.linalg.norm(ours - published) <= 1e-4 * np.linalg.norm(published)


def reference_weight(name, shape):
    """The array of a PyTorch parameter: drawn from its name, of the spread of its kind."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    leaf = name.rsplit(".", 1)[1]
    if leaf == "running_mean":
        value = 0.1 * rng.standard_normal(shape)
    elif leaf == "running_var":
        value = rng.uniform(0.8, 1.2, shape)
    elif leaf == "bias":
        value = 0.1 * rng.standard_normal(shape)
    elif len(shape) == 1:
        value = rng.uniform(0.8, 1.2, shape)
    elif len(shape) == 4:
        value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    else:
        value = rng.standard_normal(shape) / np.sqrt(shape[1])
    return value.astype(np.float32)
