"""Files that are whole or not there."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import tempfile

UNFINISHED = ".unfinished-"


@contextlib.contextmanager
def replaced_whole(path):
    """Gives a temporary path in the same folder, which takes the place of `path` at the end.

    When the block raises, `path` stays as it was and the temporary file goes.
    """
    path = pathlib.Path(path)
    # In front, because some formats go by the ending.
    temporary = path.with_name(f".unfinished.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def unfinished_folder(directory):
    """Gives an empty folder in `directory` to make something in, which goes at the end.

    When the block succeeds, those go as well that programs have left that were killed; those of
    programs that still run stay.

    Raises:
        OSError: no folder can be made there.
    """
    temporary = tempfile.TemporaryDirectory(dir=directory, prefix=UNFINISHED)
    with temporary as folder, _held(folder):
        yield pathlib.Path(folder)
    for path in pathlib.Path(directory).glob(f"{UNFINISHED}*"):
        # Another program may hold it, or just have done away with it.
        with contextlib.suppress(OSError), _held(path):
            shutil.rmtree(path)


def sha256_of(path):
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _held(folder):
    """Holds a folder's lock, which goes with the program that has it, however that ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
