"""The data set of a run, as it was trained on."""

from tf_adaptive.data import load_dataset
from tf_adaptive.data.decoding import AS_STORED
from tf_adaptive.errors import InputError

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
        # Settings of former versions lack both.
        evaluation_split=config.get("evaluation_split"),
        picture_reading=config.get("picture_reading", AS_STORED),
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
    more = ("evaluation_split", "model", "preset", "prune_to")
    return settings | {name: config.get(name) for name in more}
