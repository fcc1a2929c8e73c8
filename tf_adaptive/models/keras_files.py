"""Files of Keras models that are read whole or refused in a line."""

import json
import pathlib
import zipfile

import keras

from tf_adaptive.errors import InputError


def load_model(path):
    """A network of this package, or any functional one, from the `.keras` file it was saved to.

    Args:
        path: the file, as `model.keras` of a run directory.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        InputError: see `load_keras_file`.

    Example:
        >>> model.save("mine.keras")
        >>> len(ta.load_model("mine.keras").outputs)
        4
    """
    return load_keras_file(path, advice="name another file")


def load_keras_file(path, *, advice):
    """The model in a `.keras` file, in safe mode: no code in the file is run.

    Args:
        path: the file.
        advice: what the user may do about a file that cannot be read, in words.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        InputError: there is no such file; it is damaged, holds code, or is one that Keras cannot
            read, as where it has layers that are not Keras's or this package's.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"The model file must be there. Received: {path}, which is no file.")
    if not _is_whole_archive(path):
        raise InputError(
            f"The model file must be whole. Received: {path}, which is damaged; {advice}."
        )
    _check_no_code(path, advice)
    try:
        return keras.saving.load_model(path, compile=False)
    # What is no model fails in any way.
    except Exception as error:
        raise InputError(
            f"The model file must be one that Keras can read. Received: {path}; {advice}. Keras "
            f"says: {_reason(error)}."
        ) from error


def _reason(error):
    """The first sentence of what went wrong at first."""
    while error.__context__ is not None:
        error = error.__context__
    text = " ".join(str(error).split()) or type(error).__name__
    return text.split(". ")[0].rstrip(".")


def _is_whole_archive(path):
    """Whether all parts of a `.keras` file, a zip archive, are there with the right checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, EOFError, OSError):
        return False


def _check_no_code(path, advice):
    """Refuses a file with a Python function in it, by the name of the layer."""
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except (KeyError, ValueError):
        # Without a description it is no model, which Keras says.
        return
    layer = _layer_with_code(config)
    if layer is not None:
        raise InputError(
            "The model file must hold no code. "
            f"Received: {path}, whose layer {layer!r} is a Python function; {advice}."
        )


def _layer_with_code(config):
    """The name of the first layer in a description that holds Python code, None without one."""
    parts = config.values() if isinstance(config, dict) else config
    if isinstance(config, dict):
        code = config.get("class_name")
        if code == "Lambda":
            return config.get("config", {}).get("name", code)
        if code == "__lambda__":
            return code
    for part in parts:
        if isinstance(part, dict | list):
            found = _layer_with_code(part)
            if found is not None:
                return found
    return None
