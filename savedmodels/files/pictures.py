"""The pictures that a pattern, a list, TFRecord files or tar files name, one after another."""

import functools
import glob
import hashlib
import itertools
import os
import tarfile

from tf_adaptive.errors import InputError
from tf_adaptive.pictures import PICTURE_SUFFIXES
from tf_adaptive.programs import quiet

from ..picture_files import find_pictures, read_picture

# Where an image's file and its name stand in a tf.train.Example, the first that is there.
_IMAGE_FEATURES = ("image/encoded", "image")
_NAME_FEATURES = ("image/filename", "image/name", "__key__")


def find_input(pattern):
    """Pictures to classify.

    Args:
        pattern: a folder, searched with all folders in it; a pattern of pictures' paths, `**` for
            any folders; a file `.txt` with a path a line; or a pattern of `.tar` (webdataset) or
            `.tfrecord` files, whose records are tf.train.Example.

    Returns:
        `Pictures`.

    Raises:
        InputError: nothing is there, it cannot be read, or kinds are mixed.
    """
    if pattern.endswith(".txt"):
        return Pictures(_listed(pattern), "picture")
    if os.path.isdir(pattern):
        paths, refused = find_pictures([pattern])
        if refused:
            path, reason = next(iter(refused.items()))
            raise InputError(f"`input` must be readable. Received: {path}: {reason}")
        return Pictures(paths, "picture")
    paths = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
    if not paths:
        raise InputError(
            "`input` must be a folder, a file .txt with a path a line, or a pattern of pictures, "
            f".tar or .tfrecord files. Received: {pattern}, which nothing is there for."
        )
    kinds = {_kind(path) for path in paths}
    if len(kinds) > 1 or None in kinds:
        odd = next(path for path in paths if _kind(path) in (None, _kind(paths[-1])))
        raise InputError(
            f"`input` must be pictures ({', '.join(PICTURE_SUFFIXES)}), .tar files or .tfrecord "
            f"files, and all of one kind. Received: {pattern}, with {odd} among others."
        )
    (kind,) = kinds
    return Pictures(paths, kind)


class Pictures:
    """Pictures in files of their own, or in files that hold many.

    Args:
        paths: list of paths.
        kind: "picture", "tar" or "tfrecord".

    Attributes:
        paths, kind: as given.
        count: how many there are; None where that is known when all were read.
    """

    def __init__(self, paths, kind):
        self.paths, self.kind = paths, kind
        self.count = len(paths) if kind == "picture" else None

    def mark(self):
        """What tells them from other pictures, a text."""
        digest = hashlib.sha256()
        for path in self.paths:
            size = "" if self.kind == "picture" else os.path.getsize(path)
            digest.update(f"{path} {size}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def after(self, skipped):
        """Iterator over `(name, read)` of those after the first ones; see `pictures_in`.

        Raises:
            InputError: a damaged file that holds many, when its damage is reached.
        """
        if self.kind == "picture":
            paths, skipped = self.paths[skipped:], 0
        else:
            paths = self.paths
        pictures = itertools.chain.from_iterable(pictures_in(path, self.kind) for path in paths)
        return itertools.islice(pictures, skipped, None)


def pictures_in(path, kind):
    """The pictures of one file.

    Args:
        path, kind: see `Pictures`.

    Yields:
        `(name, read)`: `read()` gives the bytes of a picture's file, or raises InputError; in any
        thread.

    Raises:
        InputError: a damaged file that holds many, when its damage is reached.
    """
    if kind == "picture":
        yield path, functools.partial(_read, path)
        return
    for name, content in {"tar": _in_tar, "tfrecord": _in_tfrecord}[kind](path):
        yield f"{path}:{name}", functools.partial(_given, f"{path}:{name}", content)


def _read(path):
    _check_text(path)
    return read_picture(path)


def _given(name, content):
    _check_text(name)
    if content is None:
        raise InputError(
            f"A record must hold an image's file as {' or '.join(_IMAGE_FEATURES)}. Received: none."
        )
    return content


def _check_text(name):
    """Refuses what no file of answers can hold."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError("A picture's name must be UTF-8. Received: other bytes.") from error


def _kind(path):
    """ "picture", "tar", "tfrecord", or None."""
    name = os.path.basename(path).lower()
    if name.endswith(PICTURE_SUFFIXES):
        return "picture"
    # TFRecord files of many shards are called NAME.tfrecord-00000-of-00010.
    return "tar" if name.endswith(".tar") else "tfrecord" if ".tfrecord" in name else None


def _listed(path):
    try:
        with open(path, encoding="utf-8") as file:
            paths = [line.rstrip("\n") for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"`input` must be a file of UTF-8 with a path a line. Received: {path} ({error})."
        ) from error
    paths = [line for line in paths if line.strip()]
    twice = len(paths) - len(set(paths))
    if not paths or twice:
        found = f"{twice} lines that were there before" if twice else "none"
        raise InputError(f"`input` must list pictures, each once. Received: {path}, with {found}.")
    return paths


def _in_tar(path):
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.isfile() and member.name.lower().endswith(PICTURE_SUFFIXES):
                    yield member.name, tar.extractfile(member).read()
    except (tarfile.TarError, OSError) as error:
        raise _damaged(path, error) from error


def _in_tfrecord(path):
    # Only these need TensorFlow, whose notices come when it is first imported.
    quiet.import_tensorflow()
    import tensorflow as tf

    try:
        for number, record in enumerate(tf.data.TFRecordDataset(path)):
            example = tf.train.Example.FromString(record.numpy())
            features = example.features.feature
            image, name = (
                next((bytes(v) for f in names if f in features for v in _bytes(features[f])), None)
                for names in (_IMAGE_FEATURES, _NAME_FEATURES)
            )
            called = str(number) if name is None else name.decode(errors="replace")
            yield called, image
    # What is no record of Example raises protobuf's own.
    except Exception as error:
        if isinstance(error, InputError):
            raise
        raise _damaged(path, error) from error


def _bytes(feature):
    return feature.bytes_list.value[:1]


def _damaged(path, error):
    reason = str(error).split("\n")[0].rstrip(".")
    return InputError(f"A file of `input` must be whole. Received: {path} ({reason}).")
