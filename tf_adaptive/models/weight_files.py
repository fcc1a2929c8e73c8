"""Files of weights that Keras saved, into networks of which only the number of classes is open."""

import pathlib
import tempfile
import warnings
import zipfile

import h5py

from tf_adaptive.errors import InputError

_SUFFIXES = (".keras", ".h5")


def load_weight_file(path, build, *, classes):
    """A network with the weights of a file.

    Args:
        path: `.weights.h5` or `.keras`, as `keras.Model.save_weights` and `save` write them, or
            the `.h5` of keras.applications.
        build: function from a number of classes to a `keras.Model`.
        classes: numbers of classes to try.

    Returns:
        The `keras.Model` of the first number that fits.

    Raises:
        InputError: there is no such file, it is damaged, or holds other weights than the network
            has, more or fewer.
    """
    check_weight_file(path)
    path = pathlib.Path(path)
    for number in dict.fromkeys(classes):
        model = build(number)
        try:
            # Keras warns of each layer before it raises.
            with warnings.catch_warnings(action="ignore"):
                model.load_weights(path)
        # A damaged file fails in any way.
        except Exception as error:
            reason = error
        else:
            _check_nothing_left(path, model)
            return model
    raise InputError(
        f"`weights` must be a whole file of this network's weights. Received: {path}: "
        f"{' '.join(str(reason).split())[:300].rstrip('.')}."
    ) from reason


def is_keras_file(path):
    """Whether a path ends as the files do that `load_weight_file` reads."""
    return pathlib.Path(path).suffix in _SUFFIXES


def check_weight_file(path):
    """Refuses a path that is no file of the kinds that `load_weight_file` reads."""
    path = pathlib.Path(path)
    if not (is_keras_file(path) and path.is_file()):
        raise InputError(
            "`weights` must be imagenet, none or a file that Keras saved (.weights.h5, .keras). "
            f"Received: weights={str(path)!r}."
        )


def _check_nothing_left(path, model):
    """Refuses a file with arrays that the network has no place for, which Keras overlooks."""
    if path.suffix == ".h5" and not path.name.endswith(".weights.h5"):
        # Files of this older form are read by the layers' order and number, which Keras checks.
        return
    with tempfile.TemporaryDirectory() as directory:
        own = pathlib.Path(directory, "own.weights.h5")
        model.save_weights(own)
        left = sorted(_arrays(path) - _arrays(own))
    if left:
        raise InputError(
            "`weights` must be a file of this network's weights. "
            f"Received: {path}, with {len(left)} arrays of another, {left[0]!r} the first."
        )


def _arrays(path):
    """The names of the arrays of a network in a file."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as file:
            return _arrays_in(file)
    return _arrays_in(path)


def _arrays_in(file):
    names = set()

    def visit(name, value):
        if isinstance(value, h5py.Dataset) and not name.startswith("optimizer/"):
            names.add(name)

    with h5py.File(file, "r") as content:
        content.visititems(visit)
    return names
