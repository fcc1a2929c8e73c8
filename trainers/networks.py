"""The networks that the programs build by name, and how they were published to be trained."""

from absl import flags

from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.models import MSDNet, RANet
from trainers import program

NETWORKS = {"msdnet": MSDNet, "ranet": RANet}
_DEFAULT_PRESETS = {"msdnet": "msdnet_cifar_lingrow5", "ranet": "ranet_cifar_lg3"}
# The papers' trainings on CIFAR and on ImageNet; the rate falls after these shares of the epochs.
_RECIPES = {
    "cifar": {"epochs": 300, "batch_size": 64, "drop_shares": (1 / 2, 3 / 4)},
    "imagenet": {"epochs": 90, "batch_size": 256, "drop_shares": (1 / 3, 2 / 3)},
}
_LARGEST_CIFAR_SIDE = 64
_NESTEROV = {"msdnet": True, "ranet": False}

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
    check_choice("preset", PRESET.value, NETWORKS[MODEL.value].presets)


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


def published_recipe(model, preset):
    """How a preset was published to be trained.

    Returns:
        Dictionary of "epochs", "batch_size", "nesterov" (whether momentum is Nesterov's), and
        "drop_shares", the shares of the epochs after which the rate is divided by 10.

    Raises:
        InputError: there is no such network or preset.
    """
    stem = network_class(model, preset).presets[preset]["stem"]
    return _RECIPES[stem] | {"nesterov": _NESTEROV[model]}


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
