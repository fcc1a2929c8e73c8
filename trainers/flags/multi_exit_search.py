"""The flags of a search for a network with several exits, and its settings."""

from absl import flags

from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.exits.losses import check_distillation
from tf_adaptive.programs import program
from tf_adaptive.training.recipes import published_recipe
from tf_adaptive.tuning.space import Choice, check_space

from ..searches.multi_exit import MultiExitSettings
from . import network as network_flags
from . import search as search_flags
from . import training as training_flags

_PHASE_2_EPOCHS = flags.DEFINE_integer(
    "phase_2_epochs", 180, "passes over the features in phase II of IMTA; 0 for phase I alone"
)
_EXIT_WEIGHT_RATIOS = flags.DEFINE_list(
    "exit_weight_ratios",
    ["0.25", "4"],
    "range of the last exit's weight by the first's, the others' in a line between",
)
_GRADIENT_EQUILIBRIUM = flags.DEFINE_list(
    "gradient_equilibrium", ["off", "on"], "Gradient Equilibrium: off, on, or both to search"
)
_ALPHAS = flags.DEFINE_list(
    "alphas", ["0.05", "0.95"], "range of the share of the labels beside the teacher, in phase II"
)
_DISTILLATION_TEMPERATURES = flags.DEFINE_list(
    "distillation_temperatures", ["1", "8"], "range of the distillation's temperature, in phase II"
)


def multi_exit_settings(devices):
    """The `MultiExitSettings` that the flags ask for.

    Args:
        devices: `Devices`.

    Raises:
        InputError: a flag that is none of the choices or out of range, or data that cannot be had.
    """
    network_flags.fill_preset()
    recipe = published_recipe(network_flags.MODEL.value, network_flags.PRESET.value)
    drop_shares = recipe.pop("drop_shares")
    program.fill_unset(**recipe, warmup_epochs=0.0)
    dtype = training_flags.layers_dtype()
    check_whole("phase_2_epochs", _PHASE_2_EPOCHS.value, least=0)
    space = _space()
    check_space(space)
    dataset = training_flags.data_of(search_flags.DATASET.value)
    descent = search_flags.shared_descent(dataset, epochs=search_flags.EPOCHS.value)
    return MultiExitSettings(
        **search_flags.shared_settings(dataset, dtype, devices),
        descent=descent.with_drop_shares(drop_shares),
        model=network_flags.MODEL.value,
        phase_2_epochs=_PHASE_2_EPOCHS.value,
        space=space,
    )


def _space():
    choices = tuple(dict.fromkeys(_GRADIENT_EQUILIBRIUM.value))
    for choice in choices:
        check_choice("gradient_equilibrium", choice, ("off", "on"))
    if not choices:
        raise InputError("`gradient_equilibrium` must be off, on, or both. Received: neither.")
    space = [
        search_flags.range_of(_EXIT_WEIGHT_RATIOS, "exit_weight_ratio", default=1.0),
        Choice("gradient_equilibrium", choices, "off"),
    ]
    if not _PHASE_2_EPOCHS.value:
        return space
    alphas = search_flags.range_of(_ALPHAS, "alpha", default=0.1, log=False)
    for alpha in (alphas.least, alphas.most):
        check_distillation(alpha, 1.0)
    temperatures = search_flags.range_of(
        _DISTILLATION_TEMPERATURES, "distillation_temperature", default=3.0
    )
    return [*space, alphas, temperatures]
