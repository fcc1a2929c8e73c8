"""The folder that TF Serving reads: `NAME/VERSION/`, and which names there are."""

import contextlib
import os
import pathlib
import re

from google.protobuf import text_format

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.extras import lazily
from tf_adaptive.files import UNFINISHED, replaced_whole, unfinished_folder

model_server_config_pb2 = lazily(
    "tensorflow_serving.config.model_server_config_pb2", extra="serving"
)

# Inside a version: what TF Serving does not take for part of the model.
EXTRA_ASSETS = "assets.extra"
SAVED_MODEL = "saved_model.pb"
# Where the folder is inside TF Serving's container.
_SERVED_FROM = "/models"
_OURS = "# Written by python -m savedmodels.export.\n"
_BATCHING_PARAMETERS = """\
# For --enable_batching --batching_parameters_file=/models/batching_parameters.txt.
# A single image never waits longer than this for others.
batch_timeout_micros { value: 2000 }
max_batch_size { value: 64 }
max_enqueued_batches { value: 256 }
num_batch_threads { value: 2 }
# There are no allowed_batch_sizes: batches are filled up to those, and every exit would be paid for
# what they are filled with.
# Only requests of equally large images fit into one batch: send files (serving_bytes), or images of
# one size.
"""


@contextlib.contextmanager
def new_version(output, name, version=None):
    """Gives an empty folder that becomes `OUTPUT/NAME/VERSION` at the end.

    `OUTPUT/models.config` then lists all names of the folder, and there is a
    `batching_parameters.txt`. When the block raises, everything stays as it was.

    Args:
        output: a new or empty folder, or one that this function has made.
        name: of the model: letters, digits, "_", "-" and ".".
        version: a whole number from 1 on; None for one more than the largest there is.

    Yields:
        `(folder, version)`.

    Raises:
        InputError: a folder with something else in it, an impossible name, a version that is
            there already, or a place where nothing can be written.
    """
    output = pathlib.Path(output)
    check_name(name)
    names = _names(output)
    model = output / name
    if model.exists() and name not in names:
        raise InputError(
            f"`name` must be new, or that of a model that was exported. Received: {model}, which "
            "holds something else; name another one."
        )
    version = free_version(model, version)
    with folder_to_write_in(output) as unfinished:
        folder = unfinished / "version"
        folder.mkdir()
        yield folder, version
        _write_settings(output, sorted({*names, name}))
        model.mkdir(exist_ok=True)
        os.rename(folder, model / str(version))


@contextlib.contextmanager
def folder_to_write_in(output):
    """Gives an unfinished folder inside `output`, which is made where there is none.

    When the block raises, an `output` that was made goes.

    Args:
        output: `pathlib.Path`.

    Raises:
        InputError: a place where nothing can be written.
    """
    made = not output.exists()
    try:
        output.mkdir(parents=True, exist_ok=True)
        with unfinished_folder(output) as unfinished:
            yield unfinished
    except OSError as error:
        raise InputError(
            f"`output` must be a folder to write in. Received: {output} ({error.strerror})."
        ) from error
    finally:
        if made:
            # Only where nothing was put into it.
            with contextlib.suppress(OSError):
                output.rmdir()


def check_name(name):
    """Refuses a name that a model cannot be served by."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise InputError(
            "`name` must be letters, digits, '_', '-' and '.', the first a letter, digit or '_'. "
            f"Received: name={name!r}."
        )


def free_version(model, version):
    """The number that a new version of a model gets.

    Args:
        model: `pathlib.Path` of `OUTPUT/NAME`, which may not be there.
        version: the number that is asked for; None for one more than the largest there is.

    Raises:
        InputError: no whole number from 1 on, or a version that is there already.
    """
    if version is not None:
        check_whole("version", version, least=1)
    version = version or 1 + max(versions(model), default=0)
    if (model / str(version)).exists():
        raise InputError(
            "`version` must be a new one; versions are never replaced. "
            f"Received: {version}, which {model} has."
        )
    return version


def versions(model):
    """The numbers of the versions in `OUTPUT/NAME`, none where that is no folder."""
    if not model.is_dir():
        return []
    return [int(child.name) for child in model.iterdir() if re.fullmatch(r"\d+", child.name)]


def _names(output):
    """The names of the models in a folder, none where it is new or empty."""
    if not output.exists():
        return []
    # What another export is writing, or one that was killed has left, is ours as well.
    if output.is_dir() and all(path.name.startswith(UNFINISHED) for path in output.iterdir()):
        return []
    settings = output / "models.config"
    text = settings.read_text(errors="replace") if settings.is_file() else ""
    if not text.startswith(_OURS):
        raise InputError(
            "`output` must be a new folder, or one that models were exported to. "
            f"Received: {output}, which holds something else; name another one."
        )
    try:
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise InputError(
            f"{settings} must list the models as it was written; mend it or delete it with the "
            f"folder. Received: {str(error).rstrip('.')}."
        ) from error
    return [model.name for model in config.model_config_list.config]


def _write_settings(output, names):
    config = model_server_config_pb2.ModelServerConfig()
    for name in names:
        config.model_config_list.config.add(
            name=name, base_path=f"{_SERVED_FROM}/{name}", model_platform="tensorflow"
        )
    with replaced_whole(output / "models.config") as temporary:
        temporary.write_text(_OURS + text_format.MessageToString(config))
    batching = output / "batching_parameters.txt"
    if not batching.exists():
        with replaced_whole(batching) as temporary:
            temporary.write_text(_BATCHING_PARAMETERS)
