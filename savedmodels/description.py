"""What stands beside an exported or converted network, so that it is used without its run."""

import json
import pathlib

from tf_adaptive.data.decoding import AS_STORED
from tf_adaptive.errors import InputError
from tf_adaptive.exits.thresholds import MEASURES
from tf_adaptive.reports.pictures import checked_class_names
from tf_adaptive.runs.checks import is_routed
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.stored_fields import DATA_FIELDS, check_fields, is_list_of, is_number

DESCRIPTION_FILE = "description.json"
_DATA_SETTINGS = {
    "class_names": list,
    "image_shape": list,
    "mean": list,
    "std": list,
    "center_crop": bool,
}
_FIELDS = {
    **DATA_FIELDS,
    "measure": (lambda value: value in MEASURES, f"one of {', '.join(MEASURES)}"),
    "thresholds": (
        lambda value: is_list_of(lambda each: is_number(each) and 0 <= each <= 1, value),
        "a list of numbers in [0, 1]",
    ),
}
# Lacking in what former versions wrote.
_READING = "picture_reading"


def describe_data(config, model, data_dir=None):
    """What a network takes and answers, from the settings of its run.

    Settings that lack it, as those of an imported checkpoint, name the data set that has it.

    Args:
        config: what the run's `config.json` holds.
        model: its network.
        data_dir: where TFDS keeps data sets; None for where the run had them.

    Returns:
        Dictionary of "class_names", "image_shape", "mean", "std", "center_crop" and
        "picture_reading", see `tf_adaptive.data.image_dataset.ImageDataset`.

    Raises:
        InputError: the settings lack it, and the data cannot be had; or they have names of more or
            fewer classes than the network.
    """
    if "dataset" not in config:
        raise InputError(
            "The config.json of a run must name its data. Received: one without 'dataset'."
        )
    if not all(setting in config for setting in _DATA_SETTINGS):
        config = load_run_dataset(config, data_dir=data_dir).description()
    outputs = model.branches[0].outputs if is_routed(model) else model.outputs
    checked_class_names(config["class_names"], outputs[0].shape[-1])
    data = {setting: config[setting] for setting in _DATA_SETTINGS}
    return {**data, _READING: config.get(_READING, AS_STORED)}


def write_description(directory, description):
    """Writes `description.json`.

    Args:
        directory: folder to write it into.
        description: dictionary of what `describe_data` gave and more, in values JSON can hold.
    """
    text = json.dumps(description, indent=2) + "\n"
    pathlib.Path(directory, DESCRIPTION_FILE).write_text(text, encoding="utf-8")


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
    for name, kind in {**_DATA_SETTINGS, **fields}.items():
        if not isinstance(description, dict) or not isinstance(description.get(name), kind):
            raise InputError(
                "The description of a network must be one that savedmodels.export or "
                f"savedmodels.convert_tflite wrote. Received: {path}, which has no {name!r}."
            )
    description.setdefault(_READING, AS_STORED)
    check_fields(path, description, _FIELDS)
    return description
