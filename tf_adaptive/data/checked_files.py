"""Which picture files were found to be whole, so that no later start decodes them again."""

import contextlib
import os
import pathlib
import sqlite3

import numpy as np

from tf_adaptive.version import __version__

# Another folder for it, as where the home is read-only.
CACHE_VARIABLE = "TF_ADAPTIVE_CACHE"

_FILE = "checked_pictures.sqlite"
_TABLE = """
create table if not exists checked (
    path text, kind text, size integer, modified integer, primary key (path, kind)
)
"""
_SECONDS_TO_WAIT = 10
# Of a memory that cannot be had; what was not found to be whole is checked.
_FAILURES = (OSError, sqlite3.Error)


def cache_folder():
    """Where the package keeps what it can make again: $TF_ADAPTIVE_CACHE, or the user's cache."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return pathlib.Path(given)
    users = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(users) / "tf_adaptive"


class CheckedFiles:
    """The files of one data set and what is remembered of them.

    A file is known by its path, its size and the time it was last written, and by what it was
    checked for; another version of this package checks anew. Where nothing can be remembered, as in
    a read-only home, or the memory is damaged, all files are taken for unchecked, and a damaged
    memory is done away with.

    Args:
        paths: list of paths, one or more.
        kind: what they are checked for, a word.
    """

    def __init__(self, paths, kind):
        self._paths = [os.path.abspath(path) for path in paths]
        self._kind = f"{kind} {__version__}"
        # Before anything is read: what is written meanwhile is not what was checked.
        self._stamps = [_stamp(path) for path in self._paths]

    def unchecked(self):
        """Which of the files are to be checked, bool `(files,)`."""
        known = {}
        folder = os.path.commonpath(self._paths)
        with contextlib.suppress(*_FAILURES), _memory() as memory:
            rows = memory.execute(
                "select path, size, modified from checked where kind = ? and path between ? and ?",
                (self._kind, folder, folder + chr(0x10FFFF)),
            )
            known = {path: stamp for path, *stamp in rows}
        return np.array(
            [
                stamp is None or known.get(path) != stamp
                for path, stamp in zip(self._paths, self._stamps, strict=True)
            ]
        )

    def remember(self, whole):
        """Remembers the files that were found to be whole.

        Args:
            whole: bool `(files,)`.
        """
        rows = [
            (path, self._kind, *stamp)
            for path, stamp, good in zip(self._paths, self._stamps, whole, strict=True)
            if good and stamp is not None
        ]
        with contextlib.suppress(*_FAILURES), _memory() as memory, memory:
            memory.executemany("insert or replace into checked values (?, ?, ?, ?)", rows)


def _stamp(path):
    """Size and time of last writing; None for a file that is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


@contextlib.contextmanager
def _memory():
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(folder / _FILE, timeout=_SECONDS_TO_WAIT)) as memory:
        try:
            memory.execute(_TABLE)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            # Damaged, and so of no use to anybody; the next time there is a new one.
            (folder / _FILE).unlink()
            raise
        yield memory
