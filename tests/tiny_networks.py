"""Networks with exits, small enough to build in a moment."""

import keras

from tf_adaptive import MSDNet, RANet, with_collaboration

# A preset for tests of programs: four exits, built and traced quickly.
TINY = "msdnet_tiny"
MSDNet.presets[TINY] = {
    **MSDNet.presets["msdnet_cifar_lingrow4"],
    "block_layers": (1, 1, 1, 1),
    "num_channels": 8,
    "growth_rate": 4,
    "scale_growth": (1, 2),
    "scale_bottleneck": (1, 2),
}


def tiny_msdnet():
    """Three exits."""
    return MSDNet(
        input_shape=(16, 16, 3),
        num_classes=5,
        block_layers=(2, 1, 1),
        num_channels=4,
        growth_rate=4,
        scale_growth=(1, 2),
        scale_bottleneck=(1, 2),
    )


def tiny_collaborating():
    """Three exits that make use of the prediction before."""
    model = with_collaboration(tiny_msdnet())
    # What they read of it has weights of 0 at first.
    for weight in model.trainable_weights:
        weight.assign_add(0.05 * keras.random.normal(weight.shape, seed=1))
    return model


def tiny_ranet(num_classes=4):
    """Three sub-networks of one, two and three blocks, with an exit each."""
    return RANet(
        input_shape=(24, 24, 1),
        num_classes=num_classes,
        num_blocks=1,
        block_step=1,
        layer_step=1,
        layer_growth="linear",
        scales=(1, 2, 3),
        scale_growth=(4, 2, 1),
        scale_bottleneck=(4, 2, 1),
    )


def msdnet_of_late_layers(**overrides):
    """Three exits, the last of two layers."""
    arguments = {
        "input_shape": (16, 16, 3),
        "num_classes": 5,
        "block_layers": (1, 1, 2),
        "num_channels": 8,
        "growth_rate": 4,
        "scale_growth": (1, 2),
        "scale_bottleneck": (1, 2),
    }
    return MSDNet(**{**arguments, **overrides})


def ranet_of_two_scales(**overrides):
    """Three sub-networks, the last two at the same scale."""
    arguments = {
        "input_shape": (16, 16, 3),
        "num_classes": 5,
        "num_blocks": 1,
        "block_step": 1,
        "layer_step": 1,
        "layer_growth": "linear",
        "scales": (1, 2, 2),
        "scale_growth": (2, 1, 1),
        "scale_bottleneck": (2, 1, 1),
        "num_channels": 8,
        "growth_rate": 4,
    }
    return RANet(**{**arguments, **overrides})
