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
    # Ours, for comparisons that a processor affords: two fifths of lingrow4's cost.
    "msdnet_cifar_narrow4": {
        **_MSDNET_CIFAR,
        **{"block_layers": (2, 2, 2, 2), "num_channels": 8, "growth_rate": 4},
    },
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

_RESNET_IMAGENET = {
    "input_shape": (224, 224, 3),
    "num_classes": 1000,
    "widths": (64, 128, 256, 512),
}

_RESNET_CIFAR = {
    "input_shape": (32, 32, 3),
    "num_classes": 10,
    "block": "basic",
    "widths": (16, 32, 64),
    "stem": "cifar",
    "shortcut": "padded",
}

RESNET_PRESETS = {
    "resnet10": {**_RESNET_IMAGENET, "block": "basic", "blocks": (1, 1, 1, 1)},
    "resnet18": {**_RESNET_IMAGENET, "block": "basic", "blocks": (2, 2, 2, 2)},
    "resnet34": {**_RESNET_IMAGENET, "block": "basic", "blocks": (3, 4, 6, 3)},
    "resnet50": {**_RESNET_IMAGENET, "block": "bottleneck", "blocks": (3, 4, 6, 3)},
    "resnet101": {**_RESNET_IMAGENET, "block": "bottleneck", "blocks": (3, 4, 23, 3)},
    # Depth 6n + 2 with n blocks in each group.
    "resnet_cifar_20": {**_RESNET_CIFAR, "blocks": (3, 3, 3)},
    "resnet_cifar_32": {**_RESNET_CIFAR, "blocks": (5, 5, 5)},
    "resnet_cifar_44": {**_RESNET_CIFAR, "blocks": (7, 7, 7)},
    "resnet_cifar_56": {**_RESNET_CIFAR, "blocks": (9, 9, 9)},
    "resnet_cifar_110": {**_RESNET_CIFAR, "blocks": (18, 18, 18)},
    # ResNet^MC of MSDNet's paper: 62 layers, seven exits.
    "resnet_mc_cifar": {
        **_RESNET_CIFAR,
        "num_classes": 100,
        "blocks": (10, 10, 10),
        "exit_blocks": (4, 8),
    },
    # No published networks: the beginning of resnet10, and a narrow one, for small grey images.
    "resnet6_grey": {
        "input_shape": (96, 96, 1),
        "num_classes": 10,
        "block": "basic",
        "blocks": (1, 1),
        "widths": (64, 128),
    },
    "resnet8_grey": {
        "input_shape": (32, 32, 1),
        "num_classes": 10,
        "block": "basic",
        "blocks": (1, 1, 1),
        "widths": (16, 32, 64),
    },
}

_CIFAR = {"input_shape": (32, 32, 3), "num_classes": 10}

# WRN-d-k: d = 6n + 4 with n blocks in each group, widths k times 16, 32, 64.
WIDE_RESNET_PRESETS = {
    "wideresnet_16_8": {**_CIFAR, "blocks": (2, 2, 2), "widths": (128, 256, 512)},
    "wideresnet_28_10": {**_CIFAR, "blocks": (4, 4, 4), "widths": (160, 320, 640)},
    "wideresnet_40_4": {**_CIFAR, "blocks": (6, 6, 6), "widths": (64, 128, 256)},
}

_DENSENET_BC = {**_CIFAR, "bottleneck": True, "reduction": 0.5}
_DENSENET_PLAIN = {**_CIFAR, "bottleneck": False, "reduction": 1.0, "stem_channels": 16}

# Depth and growth rate. A layer of BC is two convolutions; three blocks, 4 layers besides.
DENSENET_PRESETS = {
    "densenet_cifar_40_12": {**_DENSENET_PLAIN, "block_layers": (12,) * 3, "growth_rate": 12},
    "densenet_bc_cifar_40_12": {
        **_DENSENET_BC,
        "block_layers": (6,) * 3,
        "growth_rate": 12,
        "stem_channels": 24,
    },
    "densenet_bc_cifar_100_12": {
        **_DENSENET_BC,
        "block_layers": (16,) * 3,
        "growth_rate": 12,
        "stem_channels": 24,
    },
    "densenet_bc_cifar_190_40": {
        **_DENSENET_BC,
        "block_layers": (31,) * 3,
        "growth_rate": 40,
        "stem_channels": 80,
    },
    "densenet_bc_cifar_250_24": {
        **_DENSENET_BC,
        "block_layers": (41,) * 3,
        "growth_rate": 24,
        "stem_channels": 48,
    },
    # DenseNet^MC of MSDNet's paper: 52 layers, seven exits. The growth rate is the one with which
    # the whole costs the 1.3e8 that the paper gives.
    "densenet_mc_cifar": {
        **_DENSENET_PLAIN,
        "num_classes": 100,
        "block_layers": (16,) * 3,
        "growth_rate": 6,
        "exit_layers": (6, 12),
    },
}

_IMAGENET = {"input_shape": (224, 224, 3), "num_classes": 1000}

GOOGLENET_PRESETS = {
    "googlenet": {**_IMAGENET, "largest_kernel": 5},
    "googlenet_torchvision": {**_IMAGENET, "largest_kernel": 3},
}

# Class of the members, and their presets, cheapest first. MSDNet's paper has ensembles of networks
# of rising depth and leaves most depths open; these are published networks within its ranges.
ENSEMBLE_PRESETS = {
    "ensemble_resnet_cifar": (
        "ResNet",
        ("resnet_cifar_20", "resnet_cifar_32", "resnet_cifar_44", "resnet_cifar_56"),
    ),
    "ensemble_resnet_imagenet": ("ResNet", ("resnet10", "resnet18", "resnet34", "resnet50")),
    "ensemble_densenet_cifar": (
        "DenseNet",
        ("densenet_bc_cifar_40_12", "densenet_bc_cifar_100_12"),
    ),
}

_DRNET_IMAGENET = {
    "resolutions": (224, 168, 112),
    "predictor": "resnet10",
    "predictor_resolution": 128,
    "channels": 3,
    "num_classes": 1000,
}

DRNET_PRESETS = {
    "drnet_resnet50": {**_DRNET_IMAGENET, "classifier": "resnet50"},
    "drnet_resnet101": {**_DRNET_IMAGENET, "classifier": "resnet101"},
    "drnet_mobilenet_v2": {
        **_DRNET_IMAGENET,
        "resolutions": (224, 196, 168),
        "classifier": "mobilenet_v2",
        "predictor": "inverted_residual",
        "predictor_resolution": 64,
    },
    # No published network: few layers of many operations each, so that its time falls with its
    # resolution on a processor of few cores too.
    "drnet_resnet6_grey": {
        "resolutions": (96, 72, 48),
        "classifier": "resnet6_grey",
        "predictor": "resnet8_grey",
        "predictor_resolution": 32,
        "channels": 1,
        "num_classes": 10,
    },
}

_EFFICIENTNET_LITE = {"num_classes": 1000, "width_coefficient": 1.0, "depth_coefficient": 1.0}

EFFICIENTNET_LITE_PRESETS = {
    "efficientnet_lite0": {
        **_EFFICIENTNET_LITE,
        "input_shape": (224, 224, 3),
        "dropout_rate": 0.2,
    },
    "efficientnet_lite1": {
        **_EFFICIENTNET_LITE,
        "input_shape": (240, 240, 3),
        "depth_coefficient": 1.1,
        "dropout_rate": 0.2,
    },
    "efficientnet_lite2": {
        **_EFFICIENTNET_LITE,
        "input_shape": (260, 260, 3),
        "width_coefficient": 1.1,
        "depth_coefficient": 1.2,
        "dropout_rate": 0.3,
    },
    "efficientnet_lite3": {
        **_EFFICIENTNET_LITE,
        "input_shape": (280, 280, 3),
        "width_coefficient": 1.2,
        "depth_coefficient": 1.4,
        "dropout_rate": 0.3,
    },
    "efficientnet_lite4": {
        **_EFFICIENTNET_LITE,
        "input_shape": (300, 300, 3),
        "width_coefficient": 1.4,
        "depth_coefficient": 1.8,
        "dropout_rate": 0.3,
    },
}
