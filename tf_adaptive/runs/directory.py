"""A run directory: one training's settings, state, numbers and finished model.

config.json    every setting, and the versions it was trained with
checkpoints/   the last two states of the training
history.csv    a row per epoch
tensorboard/   the same numbers as TensorBoard scalars
model.keras    the trained model; only a finished run has it
"""

import json
import pathlib
import platform

import keras
import tensorflow as tf

from tf_adaptive.errors import InputError, is_whole
from tf_adaptive.files import replaced_whole
from tf_adaptive.models.keras_files import load_keras_file
from tf_adaptive.runs.stored_fields import (
    DATA_FIELDS,
    check_fields,
    is_dict_of,
    is_list_of,
    is_number,
    is_text,
    or_none,
)
from tf_adaptive.version import __version__

_TEXT_OR_NONE = (or_none(is_text), "text or null")
_SIZE = (or_none(is_whole), "a whole number from 1 on, or null")


def _is_weight(value):
    # As a list flag gives them, in text.
    try:
        return is_number(float(value))
    except (OverflowError, TypeError, ValueError):
        return False


# What is read of a run's settings, as `DATA_FIELDS`.
_SETTINGS = {
    **DATA_FIELDS,
    "dataset": (is_text, "text"),
    **dict.fromkeys(("data_dir", "evaluation_split", "model", "preset"), _TEXT_OR_NONE),
    **dict.fromkeys(("image_size", "train_size", "validation_size"), _SIZE),
    "calibration_size": (
        or_none(lambda value: is_whole(value, least=0)),
        "a whole number from 0 on, or null",
    ),
    "prune_to": (
        or_none(lambda value: is_number(value) and 0 < value < 1),
        "a number between 0 and 1, or null",
    ),
    "exit_weights": (
        or_none(lambda value: is_list_of(_is_weight, value)),
        "a list of finite numbers, or null",
    ),
    "label_smoothing": (
        lambda value: is_number(value) and 0 <= value < 1,
        "a number from 0 on and below 1",
    ),
    "sizes": (
        lambda value: is_dict_of(lambda size: is_whole(size, least=0), value),
        "a number of images for each split",
    ),
    "versions": (lambda value: is_dict_of(is_text, value), "a version for each package"),
}


# What a run's settings hold beside what it was started with.
_BESIDE_SETTINGS = ("versions", "strategies_before")


def start_run(run_dir, config):
    """Makes the directory of a new run and writes its `config.json`.

    Args:
        run_dir: a directory that is empty or not there yet.
        config: dict of every setting, in values JSON can hold; "versions" is added to it.

    Raises:
        InputError: the directory holds a run or anything else, or cannot be made.
    """
    check_new_run(run_dir)
    run_dir = pathlib.Path(run_dir)
    versions = {"python": platform.python_version(), "tf_adaptive": __version__}
    versions |= {package.__name__: package.__version__ for package in (keras, tf)}
    text = json.dumps(config | {"versions": versions}, indent=2) + "\n"
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        with replaced_whole(run_dir / "config.json") as temporary:
            temporary.write_text(text)
    except OSError as error:
        raise InputError(
            f"`run_dir` must be a directory to write in. Received: {run_dir} ({error.strerror})."
        ) from error


def open_run(run_dir, config, *, resume, may_differ=()):
    """Starts a run, or checks that the one that is there is to be continued.

    Continued with another `strategy`, the former one is kept as one of `strategies_before`.

    Args:
        run_dir, config: see `start_run`.
        resume: whether the run in it is to be resumed.
        may_differ: see `check_resumed_run`.

    Raises:
        InputError: what `start_run` or `check_resumed_run` raises.
    """
    if not resume:
        start_run(run_dir, config)
        return
    stored = check_resumed_run(run_dir, config, may_differ=may_differ)
    before, now = stored.get("strategy", "none"), config.get("strategy", "none")
    if before != now:
        stored |= {
            "strategy": now,
            "strategies_before": [*stored.get("strategies_before", []), before],
        }
        with replaced_whole(pathlib.Path(run_dir) / "config.json") as temporary:
            temporary.write_text(json.dumps(stored, indent=2) + "\n")


def check_open_run(run_dir, *, resume, name="run_dir"):
    """Refuses a directory that no training can be done in, before anything is computed for it.

    Args:
        run_dir: as for `start_run`, or with `resume` directory of a run.
        resume: whether the run in it is to be resumed.
        name: what the user knows the directory by.

    Raises:
        InputError: the directory holds a run or anything else; with `resume`, not a run or a
            finished one.
    """
    if resume:
        _read_unfinished(pathlib.Path(run_dir), name)
    else:
        check_new_run(run_dir, name)


def check_new_run(run_dir, name="run_dir"):
    """Refuses a directory that a new run cannot be made in.

    Args:
        run_dir: as for `start_run`.
        name: what the user knows the directory by.

    Raises:
        InputError: the directory holds a run or anything else.
    """
    run_dir = pathlib.Path(run_dir)
    if (run_dir / "config.json").exists():
        raise InputError(
            f"`{name}` must be new or empty for a new run. "
            f"Received: {run_dir}, which holds a run; resume it or name another directory."
        )
    if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise InputError(
            f"`{name}` must be new or empty for a new run. "
            f"Received: {run_dir}, which holds something else; name another directory."
        )


def check_resumed_run(run_dir, config, *, may_differ=()):
    """Checks that a run is unfinished and was started with the same settings.

    Args:
        run_dir: directory of a run.
        config: dict of every setting, as for `start_run`.
        may_differ: names of settings that do not change what is computed.

    Returns:
        What `config.json` holds.

    Raises:
        InputError: not a run, a finished one, or one with another setting, which is named.
    """
    run_dir = pathlib.Path(run_dir)
    found = _read_unfinished(run_dir, "run_dir")
    stored = {name: found[name] for name in found if name not in _BESIDE_SETTINGS}
    if "calibration_size" in config:
        # Runs of former versions trained on all that was not held out to validate.
        stored.setdefault("calibration_size", 0)
    config = json.loads(json.dumps(config))
    for name in [*stored, *(name for name in config if name not in stored)]:
        before, now = (settings.get(name, "nothing") for settings in (stored, config))
        if before != now and name not in may_differ:
            raise InputError(
                f"`{name}` must be what the run in {run_dir} was started with, {before!r}. "
                f"Received: {name}={now!r}."
            )
    return found


def _read_unfinished(run_dir, name):
    """The settings of a run, which must be unfinished."""
    stored = read_config(run_dir)
    if (run_dir / "model.keras").exists():
        raise InputError(
            f"`{name}` must hold an unfinished run to resume. "
            f"Received: {run_dir}, which is finished (it has a model.keras)."
        )
    return stored


def finish_run(run_dir, model):
    """Writes `model.keras`, which makes the run a finished one.

    Args:
        run_dir: directory of a run.
        model: the trained model, with the dtype policy it is to be used with.
    """
    with replaced_whole(pathlib.Path(run_dir) / "model.keras") as temporary:
        model.save(temporary)


def load_finished_run(run_dir):
    """The settings and the trained model of a finished run.

    Args:
        run_dir: directory of a run.

    Returns:
        `(config, model)`: what `config.json` holds, and a `keras.Model`.

    Raises:
        InputError: not a run, an unfinished one, or a damaged `model.keras`.
    """
    run_dir = pathlib.Path(run_dir)
    config = read_config(run_dir)
    path = run_dir / "model.keras"
    if not path.exists():
        raise InputError(
            "`run_dir` must hold a finished run. "
            f"Received: {run_dir}, which has no model.keras yet; resume its training first."
        )
    return config, load_keras_file(path, advice="train it again")


def read_config(run_dir):
    """The settings in a run's `config.json`, a dict.

    Raises:
        InputError: the directory is not a run's, the file is damaged, or a setting in it is not
            what it can be.
    """
    path = pathlib.Path(run_dir) / "config.json"
    if not path.is_file():
        raise InputError(
            f"`run_dir` must be the directory of a run. Received: {run_dir}, "
            "which has no config.json."
        )
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(
            f"The settings of a run must be JSON. Received: {path}, which is not ({error})."
        ) from error
    if not isinstance(config, dict):
        raise InputError(
            f"The settings of a run must be a JSON object. Received: {path}, which is not."
        )
    check_fields(path, config, _SETTINGS)
    return config
