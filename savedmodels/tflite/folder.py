"""The folder of a converted network."""

import contextlib
import os
import pathlib
import tempfile

from savedmodels.description import DESCRIPTION_FILE
from tf_adaptive.errors import InputError

AGREEMENT_FILE = "agreement.csv"
_OURS = (DESCRIPTION_FILE, AGREEMENT_FILE)


def check_output(directory):
    """Refuses an output folder that holds something else than a converted network."""
    directory = pathlib.Path(directory)
    if directory.exists() and not directory.is_dir():
        raise InputError(f"`output` must be a folder. Received: the file {directory}")
    held = sorted(directory.iterdir()) if directory.exists() else []
    # What is replaced is deleted, so every file must be one of those that a conversion writes.
    others = [path.name for path in held if path.name not in _OURS and path.suffix != ".tflite"]
    if others or (held and not (directory / DESCRIPTION_FILE).is_file()):
        raise InputError(
            "`output` must be new, empty, or a folder that savedmodels.convert_tflite wrote. "
            f"Received: {directory}, which holds {(others or [path.name for path in held])[0]!r}"
        )


@contextlib.contextmanager
def folder_replaced_whole(directory):
    """Gives an empty folder, which takes the place of `directory` at the end.

    When the block raises, `directory` stays as it was and the empty folder goes.

    Raises:
        InputError: what `check_output` raises; a folder that cannot be made.
    """
    check_output(directory)
    directory = pathlib.Path(directory).absolute()
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        aside = tempfile.TemporaryDirectory(dir=directory.parent, prefix=".unfinished-")
    except OSError as error:
        raise InputError(
            f"`output` must be a folder that can be made. Received: {directory} ({error.strerror})"
        ) from error
    with aside as temporary:
        new = pathlib.Path(temporary, "new")
        new.mkdir()
        yield new
        if directory.exists():
            os.replace(directory, pathlib.Path(temporary, "old"))
        os.replace(new, directory)
