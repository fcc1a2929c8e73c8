"""The networks that are built by name."""

from tf_adaptive.errors import check_choice
from tf_adaptive.models.densenet import DenseNet
from tf_adaptive.models.efficientnet_lite import EfficientNetLite
from tf_adaptive.models.ensemble import Ensemble
from tf_adaptive.models.googlenet import GoogLeNet
from tf_adaptive.models.msdnet import MSDNet
from tf_adaptive.models.ranet import RANet
from tf_adaptive.models.resnet import ResNet
from tf_adaptive.models.wide_resnet import WideResNet

NETWORKS = {
    "msdnet": MSDNet,
    "ranet": RANet,
    "resnet": ResNet,
    "densenet": DenseNet,
    "ensemble": Ensemble,
}

DEFAULT_PRESETS = {
    "msdnet": "msdnet_cifar_lingrow5",
    "ranet": "ranet_cifar_lg3",
    "resnet": "resnet_mc_cifar",
    "densenet": "densenet_mc_cifar",
    "ensemble": "ensemble_resnet_cifar",
}

_WITH_ONE_EXIT = (DenseNet, EfficientNetLite, GoogLeNet, ResNet, WideResNet)

# Arguments that give a network exits that it does not have without.
_EXITS_ALONG = ("exit_blocks", "exit_layers")


def presets_with_exits(model):
    """Names of the presets with several exits of the network called `model`."""
    presets = NETWORKS[model].presets
    if model in ("msdnet", "ranet", "ensemble"):
        return list(presets)
    return [name for name, arguments in presets.items() if has_exits_along(arguments)]


def has_exits_along(arguments):
    """Whether a preset of a network that may have one exit gives it several."""
    return any(arguments.get(name) for name in _EXITS_ALONG)


def network_class(model, preset):
    """The class of the network called `model`, which has a preset of that name.

    Raises:
        InputError: there is no such network or preset.
    """
    check_choice("model", model, NETWORKS)
    check_choice("preset", preset, presets_with_exits(model))
    return NETWORKS[model]


def build_network(model, preset, **overrides):
    """A preset of the network called `model`; overrides that are None are the preset's."""
    given = {name: value for name, value in overrides.items() if value is not None}
    return network_class(model, preset).from_preset(preset, **given)


def classes_by_preset():
    """The class of every preset of a network with one exit."""
    return {
        preset: network
        for network in _WITH_ONE_EXIT
        for preset, arguments in network.presets.items()
        if not has_exits_along(arguments)
    }
