"""Finished runs that are handed on: a zip file each, and an index of their names and checksums."""

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import urllib.error
import urllib.request
import zipfile

from tf_adaptive.data.checked_files import CACHE_VARIABLE, cache_folder
from tf_adaptive.errors import InputError, check_choice, is_whole
from tf_adaptive.files import sha256_of, unfinished_folder
from tf_adaptive.runs.run import Run
from tf_adaptive.runs.stored_fields import is_dict_of

# A folder, or the address of one.
WEIGHTS_VARIABLE = "TF_ADAPTIVE_WEIGHTS"
INDEX_FILE = "weights.json"

_ADDRESSES = ("http://", "https://")
_SECONDS_TO_WAIT = 30
_MOST_INDEX_BYTES = 10**7
_CHUNK_BYTES = 1 << 16


class _NoAnswer(InputError):
    """An address where nobody answers."""


def file_of(name):
    """What the file of a network is called in the folder of released ones."""
    return f"{name}.zip"


def load_weights(name, directory=None):
    """A trained network that was released by its name, with what is known of it.

    What `savedmodels.write_weights` wrote is unpacked once, where the package keeps what it can
    make again ($TF_ADAPTIVE_CACHE, or the user's cache), and found there the next time.

    Args:
        name: of the network.
        directory: folder of released networks, or the address of one, http:// or https://; None for
            that which the environment variable TF_ADAPTIVE_WEIGHTS names.

    Returns:
        `Run`: `.model`, `.executor()` at its operating point, `.preprocess(uint8_images)`,
        `.description()` and more. Its folder, `.run_dir`, is a run like any other, with a
        `model_card.md` and a LICENSE beside, which programs take.

    Raises:
        InputError: neither a `directory` nor the variable, no such folder or no answer, no such
            name, a file that is damaged or another than the index says, or nowhere to unpack it.

    Example:
        >>> run = ta.load_weights("msdnet_digits", "release")
        >>> fast = run.executor()
        >>> fast(run.preprocess(uint8_images))["class"].shape
        TensorShape([2])
    """
    where = directory or os.environ.get(WEIGHTS_VARIABLE)
    if not where:
        raise InputError(
            f"`{WEIGHTS_VARIABLE}` must name the folder of released networks, or its address: set "
            "the environment variable, or give `directory`. Received: neither."
        )
    cache = cache_folder() / "weights"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        index = _read_index(str(where), cache)
        check_choice("name", name, index)
        folder = cache / f"{name}-{index[name]['sha256'][:16]}"
        if folder.is_dir():
            # One that was damaged since is unpacked again.
            with contextlib.suppress(InputError):
                return Run(folder)
        _unpack(str(where), file_of(name), index[name], folder)
    except OSError as error:
        raise InputError(
            "Released networks must be readable, and where they are unpacked must be writable; "
            f"`{CACHE_VARIABLE}` names another place. Received: {error.filename or cache} "
            f"({error.strerror})."
        ) from error
    return Run(folder)


def _read_index(where, cache):
    """What is known of each network: a dictionary from name to "bytes" and "sha256"."""
    if not where.startswith(_ADDRESSES):
        return _checked_index(where, _file_in(where, INDEX_FILE))
    kept = cache / f"{hashlib.sha256(where.encode()).hexdigest()[:16]}.json"
    try:
        with unfinished_folder(cache) as aside:
            _download(where, INDEX_FILE, aside / INDEX_FILE, _MOST_INDEX_BYTES)
            index = _checked_index(where, aside / INDEX_FILE)
            os.replace(aside / INDEX_FILE, kept)
        return index
    except _NoAnswer:
        # Without a network, what was there the last time: checksums say what the files are.
        if not kept.exists():
            raise
        return _checked_index(where, kept)


def _checked_index(where, path):
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        index = None
    if not is_dict_of(_is_described, index):
        raise InputError(
            f"The {INDEX_FILE} of released networks must be as savedmodels.write_weights wrote it. "
            f"Received: another at {where}."
        )
    return index


def _is_described(held):
    return (
        isinstance(held, dict)
        and is_whole(held.get("bytes"))
        and isinstance(held.get("sha256"), str)
        and len(held["sha256"]) == 64
        and held["sha256"].isalnum()
    )


def _unpack(where, file, described, folder):
    """Makes `folder` of a released file, whole or not at all."""
    with unfinished_folder(folder.parent) as aside:
        if folder.exists():
            os.replace(folder, aside / "damaged")
        if where.startswith(_ADDRESSES):
            path = aside / file
            _download(where, file, path, described["bytes"])
        else:
            path = _file_in(where, file)
        _check_file(f"{where}/{file}", path, described)
        try:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(aside / "run")
        except zipfile.BadZipFile as error:
            raise InputError(
                f"The file of a released network must be a zip file. Received: {where}/{file}."
            ) from error
        try:
            os.rename(aside / "run", folder)
        except OSError:
            # Another program may have made it meanwhile.
            if not folder.is_dir():
                raise


def _check_file(named, path, described):
    if path.stat().st_size != described["bytes"]:
        raise InputError(
            f"The file of a released network must be whole. Received: {named} of "
            f"{path.stat().st_size} bytes, where {described['bytes']} were written."
        )
    if sha256_of(path) != described["sha256"]:
        raise InputError(
            f"The file of a released network must be the one that {INDEX_FILE} names. "
            f"Received: {named}, whose SHA-256 is another."
        )


def _file_in(where, file):
    path = pathlib.Path(where).expanduser() / file
    if not path.is_file():
        raise _missing(path)
    return path


def _download(where, file, path, most_bytes):
    address = f"{where.rstrip('/')}/{file}"
    try:
        with (
            urllib.request.urlopen(address, timeout=_SECONDS_TO_WAIT) as answer,
            path.open("wb") as copy,
        ):
            while chunk := answer.read(_CHUNK_BYTES):
                copy.write(chunk)
                # What is too large is refused by its size.
                if copy.tell() > most_bytes:
                    break
    except urllib.error.HTTPError as error:
        if error.code == http.client.NOT_FOUND:
            raise _missing(address) from error
        raise _NoAnswer(_no_answer(address, f"status {error.code}")) from error
    except (
        urllib.error.URLError,
        TimeoutError,
        ConnectionError,
        http.client.HTTPException,
        # An address that is none.
        ValueError,
    ) as error:
        raise _NoAnswer(_no_answer(address, getattr(error, "reason", None) or error)) from error


def _missing(path):
    return InputError(
        f"`{WEIGHTS_VARIABLE}` or `directory` must be a folder that savedmodels.write_weights "
        f"wrote, or its address. Missing: {path}."
    )


def _no_answer(address, reason):
    return (
        "Released networks must be within reach: look to the network, or name a folder that they "
        f"were copied to. Received: no answer from {address} ({str(reason).rstrip('.')})."
    )
