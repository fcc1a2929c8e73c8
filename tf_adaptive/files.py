"""Files that are whole or not there."""

import contextlib
import os
import pathlib


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
