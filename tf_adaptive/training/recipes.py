"""How networks were published to be trained."""

from tf_adaptive.models.from_preset import network_class

# The papers' trainings on CIFAR and on ImageNet; the rate falls after these shares of the epochs.
_RECIPES = {
    "cifar": {"epochs": 300, "batch_size": 64, "drop_shares": (1 / 2, 3 / 4)},
    "imagenet": {"epochs": 90, "batch_size": 256, "drop_shares": (1 / 3, 2 / 3)},
}

# Phase II of IMTA: the paper's trainings, and the loss of its code for each.
_PHASE_2_RECIPES = {
    "cifar": {
        **{"epochs": 180, "batch_size": 64, "drop_shares": (1 / 2, 3 / 4)},
        **{"alpha": 0.1, "temperature": 3.0},
    },
    "imagenet": {
        **{"epochs": 90, "batch_size": 256, "drop_shares": (1 / 3, 2 / 3)},
        **{"alpha": 0.9, "temperature": 1.0},
    },
}

_LARGEST_CIFAR_SIDE = 64

_WITHOUT_NESTEROV = ("ranet",)


def published_recipe(model, preset):
    """How a preset was published to be trained.

    Returns:
        Dictionary of "epochs", "batch_size", "nesterov" (whether momentum is Nesterov's), and
        "drop_shares", the shares of the epochs after which the rate is divided by 10.

    Raises:
        InputError: there is no such network or preset.
    """
    network_class(model, preset)
    return _RECIPES[_images_of(preset)] | {"nesterov": model not in _WITHOUT_NESTEROV}


def published_phase_2_recipe(preset):
    """How phase II of a preset's network was published to be trained (Li et al. 2019).

    Returns:
        Dictionary of "epochs", "batch_size", "drop_shares" (see `published_recipe`), "alpha" and
        "temperature" (see `one_for_all_distillation`).
    """
    return dict(_PHASE_2_RECIPES[_images_of(preset)])


def recipe_for_images(image_shape):
    """How networks for images of that shape are published to be trained, see `published_recipe`.

    CIFAR's recipe up to 64 pixels a side, ImageNet's from there on.
    """
    stem = "cifar" if max(image_shape[:2]) <= _LARGEST_CIFAR_SIDE else "imagenet"
    return _RECIPES[stem] | {"nesterov": True}


def _images_of(preset):
    return "imagenet" if "_imagenet" in preset else "cifar"
