"""The networks that the programs build by name."""

from tf_adaptive.errors import check_choice
from tf_adaptive.models import MSDNet

NETWORKS = {"msdnet": MSDNet}


def network_class(model, preset):
    """The class of the network called `model`, which has a preset of that name.

    Raises:
        InputError: there is no such network or preset.
    """
    check_choice("model", model, NETWORKS)
    check_choice("preset", preset, NETWORKS[model].presets)
    return NETWORKS[model]


def build_network(model, preset, **overrides):
    """A preset of the network called `model`; overrides that are None are the preset's."""
    given = {name: value for name, value in overrides.items() if value is not None}
    return network_class(model, preset).from_preset(preset, **given)
