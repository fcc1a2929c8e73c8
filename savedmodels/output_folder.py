"""Folders that programs write whole, in place of those that they wrote before."""

import contextlib
import os
import pathlib

from tf_adaptive.errors import InputError
from tf_adaptive.files import unfinished_folder


def check_replaceable(directory, *, program, marker, is_ours):
    """Refuses an output folder that holds something else than what a program wrote.

    Args:
        directory: the folder, which may not be there.
        program: the program, in words.
        marker: name of a file that each of its folders has.
        is_ours: function of a name that tells whether the program writes it: what is replaced is
            deleted, so everything must be.

    Raises:
        InputError: a file in its place, or a folder with something else in it.
    """
    directory = pathlib.Path(directory)
    if directory.exists() and not directory.is_dir():
        raise InputError(f"`output` must be a folder. Received: the file {directory}.")
    held = sorted(path.name for path in directory.iterdir()) if directory.exists() else []
    others = [name for name in held if not is_ours(name)]
    if others or (held and not (directory / marker).is_file()):
        raise InputError(
            f"`output` must be new, empty, or a folder that {program} wrote. "
            f"Received: {directory}, which holds {(others or held)[0]!r}."
        )


@contextlib.contextmanager
def folder_replaced_whole(directory, *, check):
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
