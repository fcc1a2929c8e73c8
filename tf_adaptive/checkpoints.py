"""Published PyTorch weights into our networks."""

import os
import re

import keras
import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.layers import ConvUnit

_FEATURE_UNIT = re.compile(
    r"stage_(?P<block>\d+)_(?P<kind>stem|layer|transition)_(?:(?P<layer>\d+)_)?"
    r"scale_(?P<scale>\d+)(?P<path>_down|_normal|)(?P<part>_bottleneck|_convolution|)"
)
_EXIT_UNIT = re.compile(r"stage_(?P<exit>\d+)_exit_unit_(?P<unit>\d+)")
_EXIT_LINEAR = re.compile(r"exit_(?P<exit>\d+)")


def load_pytorch_weights(model, state_dict):
    """Fills an MSDNet from the arrays of a published PyTorch checkpoint.

    Args:
        model: an `MSDNet`, or a functional model made of its layers.
        state_dict: mapping of published parameter names, with or without "module." in front, to
            arrays (or anything `numpy.asarray` takes): convolutions `(out, in, height, width)`,
            linear layers `(out, in)`.

    Raises:
        InputError: an array is missing, left over or of the wrong shape; it is named, and the
            model is left as it was.
    """
    arrays = {
        name.removeprefix("module."): np.asarray(array)
        for name, array in state_dict.items()
        if not name.endswith("num_batches_tracked")
    }
    sources = _msdnet_sources(model)
    missing = [name for name in sources if name not in arrays]
    if missing:
        raise InputError(
            f"`state_dict` must hold every array of {model.name!r}. "
            f"Missing: {missing[0]!r} ({len(missing)} missing in all)"
        )
    left_over = [name for name in arrays if name not in sources]
    if left_over:
        raise InputError(
            f"`state_dict` must hold nothing that {model.name!r} has no place for. "
            f"Left over: {left_over[0]!r} ({len(left_over)} left over in all)"
        )
    values = []
    for name, (variable, to_keras) in sources.items():
        array = arrays[name]
        value = to_keras(array)
        if value is None or value.shape != tuple(variable.shape):
            raise InputError(
                f"{name!r} must fit the variable {variable.path!r} of shape "
                f"{tuple(variable.shape)}. Received: shape {array.shape} (PyTorch order)"
            )
        values.append((variable, value))
    for variable, value in values:
        variable.assign(value)


def read_pytorch_file(path):
    """The parameters in a PyTorch checkpoint file; no code in the file is run.

    Args:
        path: a file that `torch.save` wrote: a state dict, or a dictionary with one under
            "state_dict", as the published `.pth.tar` files are.

    Returns:
        Dictionary of parameter name to numpy array.

    Raises:
        InputError: PyTorch is not installed; there is no such file; it is damaged or holds
            something else.
    """
    try:
        import torch
    except ImportError:
        raise InputError(
            "Reading a PyTorch checkpoint needs PyTorch: pip install '.[pytorch]'"
        ) from None
    if not os.path.isfile(path):
        raise InputError(f"`checkpoint` must be a file. Received: checkpoint={str(path)!r}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # Bytes that are no checkpoint fail in any way.
        raise InputError(
            "`checkpoint` must be a whole file of PyTorch weights. "
            f"Received: {str(path)!r}, which is damaged or holds more than weights"
        ) from error
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    if not isinstance(content, dict) or not all(map(torch.is_tensor, content.values())):
        raise InputError(
            "`checkpoint` must hold a state dict, alone or under 'state_dict'. "
            f"Received: {str(path)!r}, which does not"
        )
    return {name: tensor.detach().float().numpy() for name, tensor in content.items()}


def published_num_classes(state_dict):
    """How many classes the exits of a published checkpoint tell apart.

    Raises:
        InputError: the checkpoint has no exits.
    """
    for name, array in state_dict.items():
        if re.fullmatch(r"(module\.)?classifier\.0\.linear\.bias", name):
            return len(array)
    raise InputError(
        "`checkpoint` must be one of a multi-exit network, with an array "
        f"'classifier.0.linear.bias'. Received: {sorted(state_dict)[:3]} …"
    )


def _msdnet_sources(model):
    """Published name → (our variable, function from the published array to ours or None)."""
    units = {}
    for layer in model.layers:
        match = _FEATURE_UNIT.fullmatch(layer.name)
        if isinstance(layer, ConvUnit) and match:
            units[layer] = match
    prefixes = _feature_prefixes(units)
    linear = {}
    for layer in model.layers:
        if isinstance(layer, ConvUnit) and (match := _EXIT_UNIT.fullmatch(layer.name)):
            exit_index, unit = int(match["exit"]) - 1, int(match["unit"]) - 1
            prefixes[layer] = (
                f"classifier.{exit_index}.m.{unit}.net.0",
                f"classifier.{exit_index}.m.{unit}.net.1",
            )
        elif isinstance(layer, keras.layers.Dense) and (
            match := _EXIT_LINEAR.fullmatch(layer.name)
        ):
            linear[layer] = f"classifier.{int(match['exit']) - 1}.linear"
    if not units or not linear:
        raise InputError(
            "`model` must be an MSDNet to take published PyTorch weights. "
            f"Received: {model.name!r}, which has no layers of one"
        )
    sources = {}
    for layer, (convolution, normalization) in prefixes.items():
        sources[f"{convolution}.weight"] = (layer.convolution.kernel, _convolution_kernel)
        if layer.use_bias:
            sources[f"{convolution}.bias"] = (layer.convolution.bias, _vector)
        ours = layer.batch_normalization
        sources[f"{normalization}.weight"] = (ours.gamma, _vector)
        sources[f"{normalization}.bias"] = (ours.beta, _vector)
        sources[f"{normalization}.running_mean"] = (ours.moving_mean, _vector)
        sources[f"{normalization}.running_var"] = (ours.moving_variance, _vector)
    for layer, prefix in linear.items():
        exit_number = int(prefix.split(".")[1]) + 1
        pooled = model.get_layer(f"stage_{exit_number}_exit_features").input.shape[1:]
        sources[f"{prefix}.weight"] = (layer.kernel, _linear_kernel_on(pooled))
        sources[f"{prefix}.bias"] = (layer.bias, _vector)
    return sources


def _feature_prefixes(units):
    """Layer → published names of its convolution and batch norm.

    The published network counts the modules of a block (stem, layers, transitions, in order of
    execution) and the scales of a module (those it writes, finest first) from 0.
    """

    def module(match):
        # A transition follows the layer of its number.
        return int(match["layer"] or 0), match["kind"] == "transition"

    modules, scales = {}, {}
    for match in units.values():
        modules.setdefault(match["block"], set()).add(module(match))
        scales.setdefault((match["block"], module(match)), set()).add(int(match["scale"]))
    prefixes = {}
    for layer, match in units.items():
        block = match["block"]
        module_index = sorted(modules[block]).index(module(match))
        scale_index = sorted(scales[block, module(match)]).index(int(match["scale"]))
        container = "m" if match["kind"] == "transition" else "layers"
        prefix = f"blocks.{int(block) - 1}.{module_index}.{container}.{scale_index}"
        if match["part"] == "_convolution":
            prefixes[layer] = (f"{prefix}.0", f"{prefix}.1")
            continue
        if match["path"]:
            prefix += f".conv{match['path']}"
        first = 0 if match["part"] == "_bottleneck" or not match["path"] else 3
        prefixes[layer] = (f"{prefix}.net.{first}", f"{prefix}.net.{first + 1}")
    return prefixes


def _vector(array):
    return array


def _convolution_kernel(array):
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else None


def _linear_kernel_on(pooled):
    """PyTorch flattens (channels, height, width), we flatten (height, width, channels)."""
    height, width, channels = pooled

    def to_keras(array):
        if array.ndim != 2 or array.shape[1] != height * width * channels:
            return None
        by_place = array.reshape(-1, channels, height, width).transpose(2, 3, 1, 0)
        return by_place.reshape(height * width * channels, -1)

    return to_keras
