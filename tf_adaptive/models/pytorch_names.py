"""Which parameters of the published PyTorch networks our layers are filled from."""

import re
import sys

import keras
import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.layers import ConvUnit

# The former name, for one version.
sys.modules["tf_adaptive.published_names"] = sys.modules[__name__]

_MSDNET_UNIT = re.compile(
    r"stage_(?P<block>\d+)_(?P<kind>stem|layer|transition)_(?:(?P<layer>\d+)_)?"
    r"scale_(?P<scale>\d+)(?P<path>_down|_normal|)(?P<part>_bottleneck|_convolution|)"
)
_RANET_STEM = re.compile(r"stage_1_stem_subnetwork_(?P<subnetwork>\d+)(?P<part>_convolution|)")
_RANET_UNIT = re.compile(
    r"stage_\d+_subnetwork_(?P<subnetwork>\d+)_block_(?P<block>\d+)_"
    r"(?:layer_(?P<layer>\d+)_(?P<path>own|lower)(?P<part>_bottleneck|)|(?P<end>lower|transition))"
)
_RESNET_UNIT = re.compile(
    r"group_(?P<group>\d+)_block_(?P<block>\d+)_(?:unit_(?P<unit>\d+)|shortcut)"
)
_EFFICIENTNET_LAYER = re.compile(r"block_(?P<block>\d+)_(?P<part>expand|depthwise|project)")
_EXIT_UNIT = re.compile(r"stage_(?P<exit>\d+)_exit_unit_(?P<unit>\d+)")
_LOGITS = "logits"
_EXIT_LINEAR = re.compile(r"exit_(?P<exit>\d+)")
_COLLABORATING_EXIT = re.compile(r"collaborating_exit_(?P<exit>\d+)")
# A collaborating network is published with the exits of the network it was made from.
_COLLABORATION = re.compile(r"exit_(?P<exit>\d+)_collaboration_linear")
_UNUSED = re.compile(r"net\.classifier\.\d+\.linear\.(weight|bias)")
# What DataParallel, torch.compile and averages of weights put around a network.
_WRAPPERS = ("module", "_orig_mod")
# What batch norms, thop and averages of weights count with; nothing is computed from them.
_COUNTERS = ("num_batches_tracked", "total_ops", "total_params", "n_averaged", "num_updates")


def published_sources(model):
    """Where every variable of a network is found in its published PyTorch state dict.

    Args:
        model: an `MSDNet`, a `RANet`, a `ResNet` (torchvision's names), an `EfficientNetLite`, or
            a functional model made of the layers of one.

    Returns:
        Dictionary of published parameter name to a pair: our variable, and a function from the
        published array to ours, which gives None for an array that cannot be turned into ours.

    Raises:
        InputError: the model has no layers of any of these networks.
    """
    units = {layer.name: layer for layer in model.layers if isinstance(layer, ConvUnit)}
    linear = {layer.name: layer for layer in model.layers if isinstance(layer, keras.layers.Dense)}
    features = {**_msdnet_units(units), **_ranet_units(units), **_resnet_units(units)}
    collaborating = _matches(_COLLABORATING_EXIT, linear)
    exits = _collaborating_exits(collaborating) if collaborating else _exit_linears(linear)
    if _LOGITS in linear and (efficientnet := _efficientnet_lite_layers(model)):
        return _efficientnet_lite_sources(efficientnet, linear[_LOGITS])
    if not features or not (exits or _LOGITS in linear):
        raise InputError(
            "`model` must be an MSDNet, a RANet, a ResNet or an EfficientNetLite to take published "
            f"PyTorch weights. Received: {model.name!r}, which has no layers of one."
        )
    sources = {}
    for name, (convolution, normalization) in {**features, **_exit_units(units)}.items():
        sources.update(_unit_sources(units[name], convolution, normalization))
    if collaborating:
        sources = {f"net.{name}": source for name, source in sources.items()}
    for name, match in _matches(_COLLABORATION, linear).items():
        prefix = f"isc_modules.{int(match['exit']) - 2}"
        sources.update(_linear_sources(linear[name], f"{prefix}.0"))
        normalization = model.get_layer(name.replace("_linear", "_normalization"))
        sources.update(_normalization_sources(normalization, f"{prefix}.1"))
    for name, prefix in exits.items():
        pooled = model.get_layer(f"stage_{name.rsplit('_', 1)[1]}_exit_features").input
        sources[f"{prefix}.weight"] = (linear[name].kernel, _linear_kernel_on(pooled.shape[1:]))
        sources[f"{prefix}.bias"] = (linear[name].bias, _vector)
    if _LOGITS in linear:
        sources.update(_linear_sources(linear[_LOGITS], "fc"))
    return sources


def without_wrappers(name):
    """A parameter's name as the network alone has it: "a.b" of "module._orig_mod.a.b"."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def is_unused(name):
    """Whether a published array has no place in our networks, and needs none."""
    return _UNUSED.fullmatch(name) is not None or name.rsplit(".", 1)[-1] in _COUNTERS


def _msdnet_units(names):
    """Unit name → published names of its convolution and its batch normalisation.

    The published network counts the modules of a block (stem, layers, transitions, in order of
    execution) and the scales of a module (those it writes, finest first) from 0.
    """

    def module(match):
        # A transition follows the layer of its number.
        return int(match["layer"] or 0), match["kind"] == "transition"

    matches = _matches(_MSDNET_UNIT, names)
    modules, scales = {}, {}
    for match in matches.values():
        modules.setdefault(match["block"], set()).add(module(match))
        scales.setdefault((match["block"], module(match)), set()).add(int(match["scale"]))
    published = {}
    for name, match in matches.items():
        block = match["block"]
        module_index = sorted(modules[block]).index(module(match))
        scale_index = sorted(scales[block, module(match)]).index(int(match["scale"]))
        container = "m" if match["kind"] == "transition" else "layers"
        prefix = f"blocks.{int(block) - 1}.{module_index}.{container}.{scale_index}"
        if match["part"] == "_convolution":
            published[name] = _pair(prefix)
        elif match["path"]:
            published[name] = _in_bottlenecked(f"{prefix}.conv{match['path']}", match)
        else:
            published[name] = _pair(f"{prefix}.net")
    return published


def _ranet_units(names):
    """Unit name → published names of its convolution and its batch normalisation.

    The published network counts everything from 0, the maps of the stem finest first.
    """
    stems = _matches(_RANET_STEM, names)
    last = max((int(match["subnetwork"]) for match in stems.values()), default=0)
    published = {}
    for name, match in stems.items():
        prefix = f"FirstLayer.layers.{last - int(match['subnetwork'])}"
        published[name] = _pair(prefix if match["part"] else f"{prefix}.net")
    for name, match in _matches(_RANET_UNIT, names).items():
        prefix = f"scale_flows.{int(match['subnetwork']) - 1}.{int(match['block']) - 1}"
        if match["layer"]:
            unit = {"own": "conv_normal", "lower": "conv_up"}[match["path"]]
            prefix = f"{prefix}.layers.{int(match['layer']) - 1}.{unit}"
            published[name] = _in_bottlenecked(prefix, match)
        else:
            unit = {"lower": "conv_last", "transition": "trans"}[match["end"]]
            published[name] = _pair(f"{prefix}.{unit}.net")
    return published


def _resnet_units(names):
    """Unit name → torchvision's names of its convolution and its batch normalisation.

    Torchvision counts the blocks of a layer, which is our group, from 0.
    """
    published = {"stem_convolution": ("conv1", "bn1")} if "stem_convolution" in names else {}
    for name, match in _matches(_RESNET_UNIT, names).items():
        prefix = f"layer{match['group']}.{int(match['block']) - 1}"
        if unit := match["unit"]:
            published[name] = (f"{prefix}.conv{unit}", f"{prefix}.bn{unit}")
        else:
            published[name] = _pair(f"{prefix}.downsample")
    return published


def _efficientnet_lite_layers(model):
    """Published name of a convolution → it, and the published name of its batch norm → that.

    The published network counts blocks from 0, and the batch norms of a block, of which one that
    does not expand has no first.
    """
    layers = {layer.name: layer for layer in model.layers}
    convolutions = [
        name
        for name, layer in layers.items()
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
    ]
    blocks = _matches(_EFFICIENTNET_LAYER, convolutions)
    if not blocks:
        return {}
    published = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for name, match in blocks.items():
        prefix = f"_blocks.{int(match['block']) - 1}"
        number = ("expand", "depthwise", "project").index(match["part"])
        published[name] = (f"{prefix}._{match['part']}_conv", f"{prefix}._bn{number}")
    found = {}
    for name, (convolution, normalization) in published.items():
        found[convolution] = layers.get(name)
        found[normalization] = layers.get(f"{name}_normalization")
    return {name: layer for name, layer in found.items() if layer is not None}


def _efficientnet_lite_sources(layers, logits):
    sources = _linear_sources(logits, "_fc")
    for name, layer in layers.items():
        if isinstance(layer, keras.layers.BatchNormalization):
            sources.update(_normalization_sources(layer, name))
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            sources[f"{name}.weight"] = (layer.kernel, _depthwise_kernel)
        else:
            sources[f"{name}.weight"] = (layer.kernel, _convolution_kernel)
    return sources


def _exit_units(names):
    """Unit name → published names of its convolution and its batch normalisation."""
    return {
        name: _pair(f"classifier.{int(match['exit']) - 1}.m.{int(match['unit']) - 1}.net")
        for name, match in _matches(_EXIT_UNIT, names).items()
    }


def _exit_linears(names):
    """Name of an exit's linear layer → the published one."""
    return {
        name: f"classifier.{int(match['exit']) - 1}.linear"
        for name, match in _matches(_EXIT_LINEAR, names).items()
    }


def _collaborating_exits(matches):
    """Name of a collaborating exit's linear layer → the published one."""
    return {name: f"classifier.{int(match['exit']) - 1}" for name, match in matches.items()}


def _matches(pattern, names):
    return {name: match for name in names if (match := pattern.fullmatch(name))}


def _pair(sequence, first=0):
    """The names of a convolution and a batch normalisation that follow each other."""
    return f"{sequence}.{first}", f"{sequence}.{first + 1}"


def _in_bottlenecked(prefix, match):
    """The bottleneck comes first, then a ReLU, then the 3×3 convolution."""
    return _pair(f"{prefix}.net", 0 if match["part"] == "_bottleneck" else 3)


def _unit_sources(unit, convolution, normalization):
    sources = {f"{convolution}.weight": (unit.convolution.kernel, _convolution_kernel)}
    if unit.use_bias:
        sources[f"{convolution}.bias"] = (unit.convolution.bias, _vector)
    return {**sources, **_normalization_sources(unit.batch_normalization, normalization)}


def _linear_sources(layer, name):
    return {
        f"{name}.weight": (layer.kernel, _matrix),
        f"{name}.bias": (layer.bias, _vector),
    }


def _normalization_sources(layer, name):
    return {
        f"{name}.weight": (layer.gamma, _vector),
        f"{name}.bias": (layer.beta, _vector),
        f"{name}.running_mean": (layer.moving_mean, _vector),
        f"{name}.running_var": (layer.moving_variance, _vector),
    }


def _vector(array):
    return array


def _matrix(array):
    return array.transpose() if array.ndim == 2 else None


def _convolution_kernel(array):
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else None


def _depthwise_kernel(array):
    return array.transpose(2, 3, 0, 1) if array.ndim == 4 else None


def _linear_kernel_on(pooled):
    """PyTorch flattens (channels, height, width), we flatten (height, width, channels).

    What a collaborating exit reads besides follows, in the same order.
    """
    height, width, channels = pooled
    size = height * width * channels

    def to_keras(array):
        if array.ndim != 2 or array.shape[1] < size:
            return None
        by_place = array[:, :size].reshape(-1, channels, height, width).transpose(2, 3, 1, 0)
        return np.concatenate([by_place.reshape(size, -1), array[:, size:].transpose()])

    return to_keras
