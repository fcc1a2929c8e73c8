"""What stands beside an exported or converted network, so that it is used without its run."""

import hashlib
import json
import pathlib

from tf_adaptive.errors import InputError, is_whole
from tf_adaptive.exits.thresholds import MEASURES
from tf_adaptive.files import sha256_of
from tf_adaptive.pictures import AS_STORED
from tf_adaptive.reports.pictures import checked_class_names
from tf_adaptive.runs.stored_fields import (
    DATA_FIELDS,
    DATA_SETTINGS,
    PICTURE_READING,
    check_fields,
    is_list_of,
    is_number,
    or_none,
)

DESCRIPTION_FILE = "description.json"
# Of a description: what `described_files` gave.
FILES_FIELD = "files"
_FIELDS = {
    **DATA_FIELDS,
    "measure": (lambda value: value in MEASURES, f"one of {', '.join(MEASURES)}"),
    "thresholds": (
        lambda value: is_list_of(or_none(lambda each: is_number(each) and 0 <= each <= 1), value),
        "a list of numbers in [0, 1], or null for an exit that is off",
    ),
    "enabled_exits": (
        or_none(lambda value: is_list_of(is_whole, value)),
        "a list of whole numbers from 1 on",
    ),
    "exit_macs": (
        or_none(lambda value: is_list_of(lambda each: is_whole(each) and each > 0, value)),
        "a list of whole numbers above 0",
    ),
    "temperatures": (
        or_none(lambda value: is_list_of(lambda each: is_number(each) and each > 0, value)),
        "a list of numbers above 0",
    ),
}


def check_described(description, num_classes):
    """What a data set says of itself, where it fits a network.

    Args:
        description: what `ImageDataset.description` gave.
        num_classes: of the network.

    Returns:
        Dictionary of what `describe_data` gives.

    Raises:
        InputError: a field is missing or not what it can be, or there are names of more or fewer
            classes.
    """
    names = [*DATA_SETTINGS, PICTURE_READING]
    missing = [name for name in names if name not in description]
    if missing:
        raise InputError(
            "`description` must be what the `description` of a data set gives. "
            f"Received: one without {', '.join(missing)}."
        )
    described = {name: description[name] for name in names}
    check_fields("`description`", described, DATA_FIELDS)
    checked_class_names(described["class_names"], num_classes)
    return described


def write_description(directory, description):
    """Writes `description.json`.

    Args:
        directory: folder to write it into.
        description: dictionary of what `describe_data` gives and more, in values JSON can hold.
    """
    text = json.dumps(description, indent=2) + "\n"
    pathlib.Path(directory, DESCRIPTION_FILE).write_text(text, encoding="utf-8")


def described_files(directory, names):
    """What `description.json` holds of files, to know them again by.

    Args:
        directory: folder of the files.
        names: of the files.

    Returns:
        Dictionary from name to a dictionary of "bytes", its size, and "sha256", in hexadecimal.
    """
    return {
        name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for name in names
        for path in [pathlib.Path(directory, name)]
    }


def check_described_file(path, described):
    """Refuses a file that is not the one that was described.

    Args:
        path: of the file.
        described: what `described_files` gave of it.

    Raises:
        InputError: it is missing, or of another size or content.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"A network must have all its files. Missing: {path}.")
    size = path.stat().st_size
    if size != described["bytes"]:
        raise InputError(
            "The files of a network must be whole: write it again. "
            f"Received: {path} of {size} bytes, where {described['bytes']} were written."
        )
    if sha256_of(path) != described["sha256"]:
        raise InputError(
            "The files of a network must be as they were written: write it again. "
            f"Received: {path}, whose SHA-256 is another."
        )


def mark_of(directory):
    """What tells a network from another one in the same place; empty where there is none."""
    path = pathlib.Path(directory, DESCRIPTION_FILE)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def read_description(directory, fields):
    """What `write_description` wrote.

    Args:
        directory: folder of the file.
        fields: dictionary from name to type of what it must hold beside the data's settings.

    Raises:
        InputError: there is no such file, it is damaged, or a field in it is not what it can be.
    """
    path = pathlib.Path(directory, DESCRIPTION_FILE)
    if not path.is_file():
        raise InputError(
            "The network must be one that savedmodels.export or savedmodels.convert_tflite wrote. "
            f"Received: {directory}, which has no {DESCRIPTION_FILE}."
        )
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"The description of a network must be JSON. Received: {path} ({error})."
        ) from error
    for name, kind in {**DATA_SETTINGS, **fields}.items():
        if not isinstance(description, dict) or not isinstance(description.get(name), kind):
            raise InputError(
                "The description of a network must be one that savedmodels.export or "
                f"savedmodels.convert_tflite wrote. Received: {path}, which has no {name!r}."
            )
    description.setdefault(PICTURE_READING, AS_STORED)
    check_fields(path, description, _FIELDS)
    return description
