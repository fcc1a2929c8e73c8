"""The networks that the programs build by name, and how they were published to be trained."""

from absl import flags

from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.models import DenseNet, Ensemble, MSDNet, RANet, ResNet
from trainers import program

NETWORKS = {
    "msdnet": MSDNet,
    "ranet": RANet,
    "resnet": ResNet,
    "densenet": DenseNet,
    "ensemble": Ensemble,
}
_DEFAULT_PRESETS = {
    "msdnet": "msdnet_cifar_lingrow5",
    "ranet": "ranet_cifar_lg3",
    "resnet": "resnet_mc_cifar",
    "densenet": "densenet_mc_cifar",
    "ensemble": "ensemble_resnet_cifar",
}
# Arguments that give a network exits that it does not have without.
_EXITS_ALONG = ("exit_blocks", "exit_layers")
# The papers' trainings on CIFAR and on ImageNet; the rate falls after these shares of the epochs.
_RECIPES = {
    "cifar": {"epochs": 300, "batch_size": 64, "drop_shares": (1 / 2, 3 / 4)},
    "imagenet": {"epochs": 90, "batch_size": 256, "drop_shares": (1 / 3, 2 / 3)},
}
_LARGEST_CIFAR_SIDE = 64
_WITHOUT_NESTEROV = ("ranet",)

# Programs that build a network adopt these with `flags.adopt_module_key_flags`.
MODEL = flags.DEFINE_string("model", "msdnet", f"network: {' or '.join(NETWORKS)}")
PRESET = flags.DEFINE_string(
    "preset",
    None,
    "published configuration; if unset, "
    + ", ".join(f"{preset} of {model}" for model, preset in _DEFAULT_PRESETS.items()),
)


def fill_preset():
    """Gives --preset the one that --model has by default, where none was named.

    Raises:
        InputError: there is no such network or preset.
    """
    check_choice("model", MODEL.value, NETWORKS)
    program.fill_unset(preset=_DEFAULT_PRESETS[MODEL.value])
    check_choice("preset", PRESET.value, presets_with_exits(MODEL.value))


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


def published_recipe(model, preset):
    """How a preset was published to be trained.

    Returns:
        Dictionary of "epochs", "batch_size", "nesterov" (whether momentum is Nesterov's), and
        "drop_shares", the shares of the epochs after which the rate is divided by 10.

    Raises:
        InputError: there is no such network or preset.
    """
    network_class(model, preset)
    images = "imagenet" if "_imagenet" in preset else "cifar"
    return _RECIPES[images] | {"nesterov": model not in _WITHOUT_NESTEROV}


def recipe_for_images(image_shape):
    """How networks for images of that shape are published to be trained, see `published_recipe`.

    CIFAR's recipe up to 64 pixels a side, ImageNet's from there on.
    """
    stem = "cifar" if max(image_shape[:2]) <= _LARGEST_CIFAR_SIDE else "imagenet"
    return _RECIPES[stem] | {"nesterov": True}


def check_is_preset(model, config):
    """Refuses a run's model that is not the preset which the run's settings name.

    Args:
        model: the run's `keras.Model`.
        config: what the run's `config.json` holds.

    Raises:
        InputError: it is another network, or the settings name none.
    """
    name, preset = config.get("model"), config.get("preset")
    expected = build_network(
        name,
        preset,
        input_shape=model.input_shape[1:],
        num_classes=model.outputs[0].shape[-1],
    )
    if _weight_shapes(model) != _weight_shapes(expected):
        raise InputError(
            f"The run's model.keras must be the {preset!r} of its config.json. "
            "Received: another network; mend `preset` there or name another run."
        )


def check_same_network(other, model, run_dir):
    """Refuses a model of another run that has other weights than `model`.

    Args:
        other: the other run's `keras.Model`.
        model: `keras.Model` that is to take its weights.
        run_dir: directory of the other run.

    Raises:
        InputError: names or shapes of the weights differ.
    """
    if _weight_shapes(other) != _weight_shapes(model):
        raise InputError(
            "`weights_from` must be a run of the same preset, image channels and number of "
            f"classes. Received: {run_dir}, whose network differs"
        )


def _weight_shapes(model):
    return [(weight.path, weight.shape) for weight in model.weights]
