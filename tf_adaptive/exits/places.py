"""Where an exit can stand in a trained classifier: cuts of its graph."""

import dataclasses
import itertools

import keras
import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.exits.stages import tensor_names
from tf_adaptive.graph.calls import calls_before
from tf_adaptive.graph.final_activation import classifier_graph
from tf_adaptive.graph.keras_internals import producer
from tf_adaptive.graph.macs import bytes_per_image, macs_of_calls

# Where one feature map does not cut the graph for more than this share of the MACs, two are tried.
_LONGEST_SHARE_WITHOUT_PLACE = 0.2

# A kernel of fewer of the MACs than this is a gate beside the work (squeeze-and-excite).
_LEAST_WORK_SHARE = 5e-4


@dataclasses.dataclass(frozen=True)
class ExitPlace:
    """A feature map that an exit can read.

    Attributes:
        layer: name of the layer that gives it; the n-th tensor of a layer called several times has
            `_n` behind.
        shape: `(height, width, channels)`, or `(tokens, channels)` of a transformer.
        macs_share: share of the network's MACs that are spent when it is there, in (0, 1).
        state_bytes: bytes an image hands on from a stage that ends here to the next.
        hands_on: names, as `layer`, of all that is handed on: one, or two where all that comes
            later reads two feature maps.
    """

    layer: str
    shape: tuple[int, ...]
    macs_share: float
    state_bytes: int
    hands_on: tuple[str, ...]


def exit_places(model):
    """The places in a classifier where an exit can stand, cheapest first.

    A place is a feature map on which all that comes later depends, and nothing later on anything
    else that came before: a cut of the graph, so that a stage that ends there hands on this one
    map. Where a network has no such map for more than a fifth of its MACs (the cells of NASNet
    read the two cells before), cuts of two maps are taken there. Of the maps between two
    convolutions, the last of the smallest ones is the place, and a map that is larger than its
    neighbours on both sides, such as the inside of an inverted bottleneck, is none. What lies
    behind the last convolution is the network's own last exit.

    Args:
        model: functional or sequential `keras.Model` with one output `(batch, classes)`, nested
            models included; heights and widths of its inputs are given.

    Returns:
        List of `ExitPlace`; empty where the graph has no such cut.

    Raises:
        InputError: another kind of model or output, maps with the channels first, inputs of no
            fixed size, an operation whose cost is not known.

    Example:
        >>> import keras, tf_adaptive as ta
        >>> backbone = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None)
        >>> for place in ta.exit_places(backbone)[:3]:
        ...     print(place.layer, place.shape, f"{place.macs_share:.2f}", place.state_bytes)
        Conv1_relu (48, 48, 16) 0.08 147456
        expanded_conv_project_BN (48, 48, 8) 0.14 73728
        block_1_project_BN (24, 24, 8) 0.26 18432
    """
    return [place for place, _ in places_with_tensors(classifier_graph(model))]


def _check_channels_last(model):
    for layer in model.layers:
        if getattr(layer, "data_format", "channels_last") == "channels_first":
            raise InputError(
                "`model` must have its channels last. Received: the layer "
                f"{layer.name!r}, whose channels are first."
            )


def places_with_tensors(model):
    """Pairs of an `ExitPlace` and the symbolic tensor that an exit there reads.

    Args:
        model: as `classifier_graph` gives it.

    Raises:
        InputError: see `exit_places`.
    """
    _check_channels_last(model)
    calls = calls_before(model.outputs)
    macs = macs_of_calls(model.inputs, calls)
    cuts = _cuts(model, calls, macs)
    singles = _chosen([cut for cut in cuts if len(cut.tensors) == 1])
    shares = [0.0, *(cut.macs_share for cut in singles), 1.0]
    wide = [
        (before, after)
        for before, after in itertools.pairwise(shares)
        if after - before > _LONGEST_SHARE_WITHOUT_PLACE
    ]
    cuts = [
        cut
        for cut in cuts
        if len(cut.tensors) == 1 or any(before < cut.macs_share < after for before, after in wide)
    ]
    names = tensor_names(model.inputs, [calls])
    return [
        (
            ExitPlace(
                layer=names[id(cut.tensors[-1])],
                shape=tuple(cut.tensors[-1].shape[1:]),
                macs_share=cut.macs_share,
                state_bytes=cut.state_bytes,
                hands_on=tuple(names[id(tensor)] for tensor in cut.tensors),
            ),
            cut.tensors[-1],
        )
        for cut in _chosen(cuts)
    ]


@dataclasses.dataclass(frozen=True)
class _Cut:
    """What a stage hands on that ends with the call of a layer: all that other calls read of it.

    Attributes:
        tensors: one or two feature maps, that of the layer last.
        macs_share: share of the network's MACs spent.
        kernels: how many layers with a kernel were called.
        convolutions: how many of them mix channels and are a part of the work to speak of.
        state_bytes: of one image's tensors.
    """

    tensors: tuple
    macs_share: float
    kernels: int
    convolutions: int
    state_bytes: int


def _cuts(model, calls, macs):
    """All cuts of one feature map or two, cheapest first."""
    positions = {id(node): position for position, node in enumerate(calls)}
    computed = [
        (tensor, position) for position, node in enumerate(calls) for tensor in node.outputs
    ]
    tensors = [*((tensor, None) for tensor in model.inputs), *computed]
    rows = {id(tensor): row for row, (tensor, _) in enumerate(tensors)}
    # Whether call p needs call q, or is it; whether call q reads tensor t.
    needed = np.eye(len(calls), dtype=bool)
    read = np.zeros((len(tensors), len(calls)), "float32")
    for position, node in enumerate(calls):
        for tensor in node.input_tensors:
            read[rows[id(tensor)], position] = 1
            parent = positions.get(id(producer(tensor)))
            if parent is not None:
                needed[position] |= needed[parent]
    read_by_others = read @ (~needed).T.astype("float32") > 0
    has_kernel = np.array([_has_kernel(node.operation) for node in calls])
    # Floats: exact below 2⁵³.
    macs = np.array(macs, "float64")
    is_work = macs >= _LEAST_WORK_SHARE * macs.sum()
    is_convolution = has_kernel & is_work & [not _is_depthwise(node) for node in calls]
    spent = needed @ macs
    kernels, convolutions = needed @ has_kernel.astype(int), needed @ is_convolution.astype(int)
    cuts = []
    for position, node in enumerate(calls[:-1]):
        handed_on = [
            tensor
            for row, (tensor, parent) in enumerate(tensors)
            if read_by_others[row, position] and (parent is None or needed[position, parent])
        ]
        # Behind the last kernel but that of the logits an exit would see what the last one sees.
        if (
            0 < kernels[position] < kernels[-1] - 1
            and len(handed_on) in (1, 2)
            and handed_on[-1] is node.outputs[0]
            # Beside another map, one that a single call reads is the inside of a block.
            and (len(handed_on) == 1 or sum(read[rows[id(handed_on[-1])]]) > 1)
            and all(map(_is_feature_map, handed_on))
        ):
            cuts.append(
                _Cut(
                    tensors=tuple(handed_on),
                    macs_share=float(spent[position] / spent[-1]),
                    kernels=int(kernels[position]),
                    convolutions=int(convolutions[position]),
                    state_bytes=sum(map(bytes_per_image, handed_on)),
                )
            )
    return sorted(cuts, key=lambda cut: (cut.macs_share, cut.kernels))


def _chosen(cuts):
    """One cut for each piece of work, and none inside a block that is wider than its ends."""
    # A convolution, its batch norm, activation and pooling are one map: the last of the smallest.
    cuts = [
        min(reversed(list(group)), key=lambda cut: cut.state_bytes)
        for _, group in itertools.groupby(cuts, key=lambda cut: cut.kernels)
    ]
    # Depthwise convolutions and gates (squeeze-and-excite) add little to the map before them.
    cuts = [
        min(group, key=lambda cut: cut.state_bytes)
        for _, group in itertools.groupby(cuts, key=lambda cut: cut.convolutions)
    ]
    while True:
        kept = [
            cut
            for before, cut, after in zip([None, *cuts], cuts, [*cuts[1:], None], strict=False)
            if before is None
            or after is None
            or cut.state_bytes <= max(before.state_bytes, after.state_bytes)
            or _keeps(cut, before)
        ]
        if len(kept) == len(cuts):
            return kept
        cuts = kept


def _keeps(cut, before):
    """Whether a cut is a concatenation that the one before is a part of, as in a dense block."""
    node = producer(cut.tensors[-1])
    return isinstance(node.operation, keras.layers.Concatenate) and any(
        part is before.tensors[-1] for part in node.input_tensors
    )


def _has_kernel(operation):
    return isinstance(operation, keras.Layer) and any(
        len(weight.shape) >= 2 for weight in operation.weights
    )


def _is_depthwise(node):
    layer = node.operation
    return isinstance(layer, keras.layers.DepthwiseConv2D) or (
        isinstance(layer, keras.layers.Conv2D)
        and layer.groups == node.input_tensors[0].shape[-1] > 1
    )


def _is_feature_map(tensor):
    """Whether it has places or tokens beside its channels."""
    return len(tensor.shape) in (3, 4) and np.prod(tensor.shape[1:-1]) > 1
