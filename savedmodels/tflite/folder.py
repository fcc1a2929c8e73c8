"""The folder of a converted network."""

import contextlib
import os
import pathlib

from tf_adaptive.errors import InputError
from tf_adaptive.files import unfinished_folder

from ..description import DESCRIPTION_FILE

AGREEMENT_FILE = "agreement.csv"
# What classifies pictures with the folder and nothing of this package.
RUN_FILE = "run.py"
_OURS = (DESCRIPTION_FILE, AGREEMENT_FILE, RUN_FILE, "__pycache__")


def batch_name(signature, batch_size):
    """What the signature of a larger batch is called, beside that of one image."""
    return signature if batch_size == 1 else f"{signature}_batch_{batch_size}"


def check_output(directory):
    """Refuses an output folder that holds something else than a converted network."""
    directory = pathlib.Path(directory)
    if directory.exists() and not directory.is_dir():
        raise InputError(f"`output` must be a folder. Received: the file {directory}.")
    held = sorted(directory.iterdir()) if directory.exists() else []
    # What is replaced is deleted, so every file must be one of those that a conversion writes.
    others = [path.name for path in held if path.name not in _OURS and path.suffix != ".tflite"]
    if others or (held and not (directory / DESCRIPTION_FILE).is_file()):
        raise InputError(
            "`output` must be new, empty, or a folder that savedmodels.convert_tflite wrote. "
            f"Received: {directory}, which holds {(others or [path.name for path in held])[0]!r}."
        )


@contextlib.contextmanager
def folder_replaced_whole(directory, check=check_output):
    """Gives an empty folder, which takes the place of `directory` at the end.

    When the block raises, `directory` stays as it was and the empty folder goes.

    Args:
        directory: the folder.
        check: called with it; refuses one that must not be replaced.

    Raises:
        InputError: what `check` raises; a folder that cannot be made.
    """
    check(directory)
    directory = pathlib.Path(directory).absolute()
    with contextlib.ExitStack() as stack:
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            aside = stack.enter_context(unfinished_folder(directory.parent))
        except OSError as error:
            raise InputError(
                "`output` must be a folder that can be made. "
                f"Received: {directory} ({error.strerror})."
            ) from error
        new = aside / "new"
        new.mkdir()
        yield new
        if directory.exists():
            os.replace(directory, aside / "old")
        os.replace(new, directory)
