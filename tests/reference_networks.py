"""The published networks' check values, and the rule that their weights are drawn by."""

import json
import pathlib
import zlib

import numpy as np

# Reference file → the preset of that network, and what it overrides.
REFERENCE_NETWORKS = {
    "msdnet_cifar100_lingrow5": ("msdnet_cifar_lingrow5", {}),
    "msdnet_cifar10_even6": (
        "msdnet_cifar_even7",
        {"block_layers": (4, 2, 2, 2, 2, 2), "num_classes": 10},
    ),
    "msdnet_imagenet_step4": ("msdnet_imagenet_step4", {}),
}


def read_reference(name):
    folder = pathlib.Path(__file__).parent / "reference"
    return json.loads((folder / f"{name}.json").read_text())


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
