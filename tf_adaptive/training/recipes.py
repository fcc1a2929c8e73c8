"""How networks were published to be trained."""

from tf_adaptive.models.from_preset import network_class

# The papers' trainings on CIFAR and on ImageNet; the rate falls after these shares of the epochs.
_RECIPES = {
    "cifar": {"epochs": 300, "batch_size": 64, "drop_shares": (1 / 2, 3 / 4)},
    "imagenet": {"epochs": 90, "batch_size": 256, "drop_shares": (1 / 3, 2 / 3)},
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
    images = "imagenet" if "_imagenet" in preset else "cifar"
    return _RECIPES[images] | {"nesterov": model not in _WITHOUT_NESTEROV}


def recipe_for_images(image_shape):
    """How networks for images of that shape are published to be trained, see `published_recipe`.

    CIFAR's recipe up to 64 pixels a side, ImageNet's from there on.
    """
    stem = "cifar" if max(image_shape[:2]) <= _LARGEST_CIFAR_SIDE else "imagenet"
    return _RECIPES[stem] | {"nesterov": True}
