"""Published PyTorch weights into our networks."""

import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.models.pytorch_names import is_unused, published_sources, without_wrappers


def load_pytorch_weights(model, state_dict):
    """Fills one of our networks from the arrays of a published PyTorch checkpoint.

    Args:
        model: an `MSDNet`, a `RANet`, one of them `with_collaboration`, a `ResNet` (torchvision's
            names), an `EfficientNetLite` (names as in "_blocks.0._depthwise_conv.weight"), or
            another functional model made of the layers of one.
        state_dict: mapping of published parameter names, with or without the "module." and
            "_orig_mod." of DataParallel and torch.compile, to arrays (or anything `numpy.asarray`
            takes): convolutions `(out, in, height, width)`, linear layers `(out, in)`. Counters,
            as "num_batches_tracked", are left aside.

    Raises:
        InputError: the model is of no such kind; an array is missing, left over, there twice or of
            the wrong shape, which is then named. The model is left as it was.
    """
    arrays = {}
    for name, array in state_dict.items():
        plain_name = without_wrappers(name)
        if plain_name in arrays:
            raise InputError(
                f"`state_dict` must hold every array once. Received: {plain_name!r} twice, the "
                f"second time as {name!r}."
            )
        arrays[plain_name] = np.asarray(array)
    sources = published_sources(model)
    missing = [name for name in sources if name not in arrays]
    if missing:
        raise InputError(
            f"`state_dict` must hold every array of {model.name!r}. "
            f"Missing: {missing[0]!r} ({len(missing)} missing in all)."
        )
    left_over = [name for name in arrays if name not in sources and not is_unused(name)]
    if left_over:
        raise InputError(
            f"`state_dict` must hold nothing that {model.name!r} has no place for. "
            f"Left over: {left_over[0]!r} ({len(left_over)} left over in all)."
        )
    values = []
    for name, (variable, to_keras) in sources.items():
        array = arrays[name]
        value = to_keras(array)
        if value is None or value.shape != tuple(variable.shape):
            raise InputError(
                f"{name!r} must fit the variable {variable.path!r} of shape "
                f"{tuple(variable.shape)}. Received: shape {array.shape} (PyTorch order)."
            )
        values.append((variable, value))
    for variable, value in values:
        variable.assign(value)


def published_num_classes(state_dict):
    """How many classes the exits of a published checkpoint tell apart.

    Raises:
        InputError: the checkpoint has no exits.
    """
    for name, array in state_dict.items():
        if without_wrappers(name) == "classifier.0.linear.bias":
            return len(array)
    raise InputError(
        "`checkpoint` must be one of a multi-exit network, with an array "
        f"'classifier.0.linear.bias'. Received: {sorted(state_dict)[:3]} …."
    )
