"""The published configurations, by name."""

_MSDNET_CIFAR = {
    "input_shape": (32, 32, 3),
    "num_classes": 100,
    "stem": "cifar",
    "num_channels": 16,
    "growth_rate": 6,
    "scale_growth": (1, 2, 4),
    "scale_bottleneck": (1, 2, 4),
    "reduction": 0.5,
}
_MSDNET_IMAGENET = {
    "input_shape": (224, 224, 3),
    "num_classes": 1000,
    "stem": "imagenet",
    "num_channels": 32,
    "growth_rate": 16,
    "scale_growth": (1, 2, 4, 4),
    "scale_bottleneck": (1, 2, 4, 4),
    "reduction": 0.5,
}

MSDNET_PRESETS = {
    "msdnet_cifar_even7": {**_MSDNET_CIFAR, "block_layers": (4, *[2] * 6)},
    "msdnet_cifar_even10": {**_MSDNET_CIFAR, "block_layers": (4, *[2] * 9), "num_classes": 10},
    "msdnet_cifar_lingrow4": {**_MSDNET_CIFAR, "block_layers": (1, 2, 3, 4)},
    "msdnet_cifar_lingrow5": {**_MSDNET_CIFAR, "block_layers": (1, 2, 3, 4, 5)},
    "msdnet_cifar_lingrow6": {**_MSDNET_CIFAR, "block_layers": (1, 2, 3, 4, 5, 6)},
    "msdnet_cifar_lingrow7": {**_MSDNET_CIFAR, "block_layers": (1, 2, 3, 4, 5, 6, 7)},
    "msdnet_cifar_lingrow8": {**_MSDNET_CIFAR, "block_layers": (1, 2, 3, 4, 5, 6, 7, 8)},
    "msdnet_imagenet_step4": {**_MSDNET_IMAGENET, "block_layers": (4,) * 5},
    "msdnet_imagenet_step6": {**_MSDNET_IMAGENET, "block_layers": (6,) * 5},
    "msdnet_imagenet_step7": {**_MSDNET_IMAGENET, "block_layers": (7,) * 5},
}

_RANET_CIFAR = {
    "input_shape": (32, 32, 3),
    "num_classes": 10,
    "stem": "cifar",
    "num_blocks": 2,
    "block_step": 2,
    "num_channels": 16,
    "growth_rate": 6,
    "reduction": 0.5,
    "compress_factor": 0.25,
}
_RANET_IMAGENET = {
    **_RANET_CIFAR,
    "input_shape": (224, 224, 3),
    "num_classes": 1000,
    "stem": "imagenet",
    "layer_step": 8,
    "layer_growth": "even",
    "growth_rate": 16,
    "scales": (1, 2, 3, 4),
}

RANET_PRESETS = {
    "ranet_cifar_lg3": {
        **_RANET_CIFAR,
        "layer_step": 2,
        "layer_growth": "linear",
        "scales": (1, 2, 3),
        "scale_growth": (4, 2, 1),
        "scale_bottleneck": (4, 2, 1),
    },
    "ranet_cifar_even4": {
        **_RANET_CIFAR,
        "layer_step": 4,
        "layer_growth": "even",
        "scales": (1, 2, 3, 3),
        "scale_growth": (4, 2, 1, 1),
        "scale_bottleneck": (4, 2, 1, 1),
    },
    "ranet_imagenet_4211": {
        **_RANET_IMAGENET,
        "num_channels": 16,
        "scale_growth": (4, 2, 1, 1),
        "scale_bottleneck": (4, 2, 1, 1),
    },
    "ranet_imagenet_4221": {
        **_RANET_IMAGENET,
        "num_channels": 32,
        "scale_growth": (4, 2, 2, 1),
        "scale_bottleneck": (4, 2, 2, 1),
    },
}
