"""The data set of a run, as it was trained on."""

from tf_adaptive.data import load_dataset
from tf_adaptive.errors import InputError
from tf_adaptive.pictures import AS_STORED
from tf_adaptive.reports.pictures import checked_class_names
from tf_adaptive.runs.stored_fields import DATA_SETTINGS, PICTURE_READING

# Those of its data that every run has.
_SIZES = ("image_size", "train_size", "validation_size")
_SETTINGS = ("dataset", "data_dir", *_SIZES)


def load_run_dataset(config, *, data_dir=None):
    """The data set a run was trained on, split as it was and as its network takes it.

    Args:
        config: the run's settings.
        data_dir: where TFDS keeps data sets; None for where the run had them.

    Raises:
        InputError: a setting is missing, or the data cannot be had.
    """
    missing = [name for name in _SETTINGS if name not in config]
    if missing:
        raise InputError(
            "The config.json of a run must hold every setting of its data. "
            f"Received: one without {', '.join(missing)}."
        )
    dataset = load_dataset(
        config["dataset"],
        data_dir=data_dir or config["data_dir"],
        # Settings of former versions lack these.
        evaluation_split=config.get("evaluation_split"),
        picture_reading=config.get("picture_reading", AS_STORED),
        # Runs of former versions trained on all that was not held out to validate.
        calibration_size=config.get("calibration_size", 0),
        **{name: config[name] for name in _SIZES},
    )
    if "image_shape" not in config:
        return dataset
    return dataset.seen_with(
        channels=config["image_shape"][-1], mean=config.get("mean"), std=config.get("std")
    )


def settings_of_data(config):
    """What evaluation reads of a run's settings, and which network it began with.

    Args:
        config: the run's settings, with those of its data.
    """
    settings = {name: config[name] for name in _SETTINGS}
    settings["picture_reading"] = config.get("picture_reading", AS_STORED)
    settings["calibration_size"] = config.get("calibration_size", 0)
    more = ("evaluation_split", "model", "preset", "prune_to")
    return settings | {name: config.get(name) for name in more}


def describe_data(config, num_classes, data_dir=None):
    """What a network takes and answers, from the settings of its run.

    Settings that lack it, as those of an imported checkpoint, name the data set that has it.

    Args:
        config: what the run's `config.json` holds.
        num_classes: of its network.
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
    if not all(setting in config for setting in DATA_SETTINGS):
        config = load_run_dataset(config, data_dir=data_dir).description()
    checked_class_names(config["class_names"], num_classes)
    data = {setting: config[setting] for setting in DATA_SETTINGS}
    return {**data, PICTURE_READING: config.get(PICTURE_READING, AS_STORED)}
