"""Arrays in the files that PyTorch's `torch.save` writes, read without PyTorch.

A file is a pickle that describes the arrays, and their elements, the storages. Since PyTorch 1.6 it
is a zip archive with a file for each of them; before, one follows the other.
"""

import io
import mmap
import os
import pickle
import pickletools
import typing
import zipfile

import numpy as np

from tf_adaptive.errors import InputError

_ZIP_BEGINS = b"PK\x03\x04"
_LEGACY_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
# NumPy has no bfloat16, which is the upper half of a float32.
_ELEMENTS = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


def read_pytorch_file(path, *, argument="checkpoint"):
    """The parameters in a PyTorch checkpoint file; no code in the file is run.

    Both formats of `torch.save` are read, that of PyTorch 1.6 and later and the one before it. Of
    what a pickle can hold, only arrays, dictionaries, lists, numbers and texts are.

    Args:
        path: a file that `torch.save` wrote: a state dict, or a dictionary with one under
            "state_dict", as the published `.pth.tar` files are.
        argument: what the user calls `path`, for the errors.

    Returns:
        Dictionary of parameter name to numpy array of the file's dtype, bfloat16 as float32. The
        arrays are read-only: parameters that shared their elements in PyTorch share them here.

    Raises:
        InputError: there is no such file; it is damaged; it holds something else, which is named.

    Example:
        >>> arrays = read_pytorch_file("model_best.pth.tar")
        >>> ta.load_pytorch_weights(model, arrays)
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise InputError(f"`{argument}` must be a file. Received: {argument}={path!r}.")
    try:
        with open(path, "rb") as file:
            is_zip = file.read(len(_ZIP_BEGINS)) == _ZIP_BEGINS
            with (_ZipFile if is_zip else _LegacyFile)(file) as opened:
                state_dict = opened.content
                if isinstance(state_dict, dict):
                    state_dict = state_dict.get("state_dict", state_dict)
                if _is_state_dict(state_dict):
                    return _arrays(state_dict, opened)
    except _NotAllowedError as error:
        raise InputError(
            f"`{argument}` must hold arrays, dictionaries, lists, numbers and texts only. "
            f"Received: {path!r}, which holds {error}."
        ) from None
    except Exception as error:  # Bytes that are no checkpoint fail in any way.
        raise InputError(
            f"`{argument}` must be a whole file of PyTorch weights. "
            f"Received: {path!r}, which is damaged or something else."
        ) from error
    raise InputError(
        f"`{argument}` must hold a state dict, alone or under 'state_dict'. "
        f"Received: {path!r}, which does not."
    )


class _NotAllowedError(Exception):
    """The file holds something that is not read, which the message names."""


class _ElementType(typing.NamedTuple):
    """What a pickle's `torch.FloatStorage` and the like stand for."""

    dtype: str


class _Storage(typing.NamedTuple):
    """The elements, `count` of them, that a key of the file names."""

    key: str
    dtype: str
    count: int


class _Tensor(typing.NamedTuple):
    """An array as the pickle describes it, unchecked; strides and offsets are in elements."""

    storage: typing.Any
    offset: typing.Any
    shape: typing.Any
    strides: typing.Any


class _View(typing.NamedTuple):
    """A part of a storage, which files of old PyTorch versions call a storage too."""

    storage: _Storage
    offset: int


class _Dictionary(dict):
    """A `collections.OrderedDict` of the pickle, without the attributes that PyTorch gives it."""

    def __setstate__(self, state):
        pass


def _rebuild_tensor(storage, offset, shape, strides, *_):
    return _Tensor(storage, offset, shape, strides)


def _rebuild_parameter(tensor, *_):
    return tensor


_ALLOWED = {
    "collections.OrderedDict": _Dictionary,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    **{f"torch.{name}": _ElementType(dtype) for name, dtype in _ELEMENTS.items()},
}


class _Unpickler(pickle.Unpickler):
    """Makes descriptions of arrays, and nothing that could run code.

    Attributes:
        storages: those that were met, by key.
    """

    def __init__(self, data):
        # Texts written by Python 2 are bytes of their own kind.
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self.storages = {}

    def find_class(self, module, name):
        found = _ALLOWED.get(f"{module}.{name}")
        if found is None:
            raise _NotAllowedError(repr(f"{module}.{name}"[:100]))
        return found

    def persistent_load(self, identifier):
        kind, element_type, key, _, count, *view = identifier
        if (
            kind != "storage"
            or not isinstance(element_type, _ElementType)
            or not isinstance(key, str)
            or not _is_count(count)
        ):
            raise ValueError("not a storage")
        storage = _Storage(key, element_type.dtype, count)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError("two storages of one key")
        if not view or view[0] is None:
            return _View(storage, 0)
        _, offset, _ = view[0]
        if not _is_count(offset):
            raise ValueError("not a part of a storage")
        return _View(storage, offset)


class _ZipFile:
    """A file of PyTorch 1.6 or later.

    Attributes:
        content: what was saved, with a `_Tensor` for each array.
    """

    def __init__(self, file):
        self._archive = zipfile.ZipFile(file)
        members = self._archive.infolist()
        # PyTorch compresses nothing, so a sum above the file's size is a lie.
        if sum(member.file_size for member in members) > os.fstat(file.fileno()).st_size:
            raise ValueError("more bytes than the file has")
        names = [member.filename for member in members]
        (described,) = (name for name in names if name.split("/")[1:] == ["data.pkl"])
        self._folder = described.removesuffix("data.pkl")
        order = f"{self._folder}byteorder"
        is_big = order in names and self._archive.read(order) == b"big"
        self._byte_order = ">" if is_big else "<"
        data = self._archive.read(described)
        _end_of_pickle(io.BytesIO(data))
        self.content = _Unpickler(data).load()

    def elements(self, storage):
        data = self._archive.read(f"{self._folder}data/{storage.key}")
        return _elements(data, storage, self._byte_order)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._archive.close()


class _LegacyFile:
    """A file of a PyTorch version before 1.6: five pickles, then the storages.

    Attributes:
        content: what was saved, with a `_Tensor` for each array.
    """

    def __init__(self, file):
        self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self._next_pickle().load() != _LEGACY_MAGIC_NUMBER:
            raise ValueError("no magic number")
        if self._next_pickle().load() != _LEGACY_PROTOCOL:
            raise ValueError("unknown protocol")
        self._next_pickle()  # Of the machine that wrote it.
        described = self._next_pickle()
        self.content = described.load()
        self._places = self._places_of(described.storages, self._next_pickle().load())

    def _next_pickle(self):
        start = self._bytes.tell()
        end = _end_of_pickle(self._bytes)
        return _Unpickler(self._bytes[start:end])

    def _places_of(self, storages, keys):
        """Key of each storage → where its elements begin; in front stands how many they are."""
        places, place = {}, self._bytes.tell()
        for key in keys:
            storage = storages[key]
            if int.from_bytes(self._bytes[place : place + 8], "little") != storage.count:
                raise ValueError("a storage of another size")
            places[key] = place + 8
            place += 8 + _byte_count(storage)
            if place > len(self._bytes):
                raise ValueError("a storage behind the end")
        return places

    def elements(self, storage):
        place = self._places[storage.key]
        return _elements(self._bytes[place : place + _byte_count(storage)], storage, "<")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bytes.close()


def _end_of_pickle(file):
    """Reads over a pickle without making its objects; the place after it.

    Every length in it is then one that the file has. Python's unpickler would believe it, and
    reserve so much memory.
    """
    for number, (opcode, value, _) in enumerate(pickletools.genops(file)):
        # It also keeps a table as long as the largest number of an object.
        if opcode.name in ("PUT", "LONG_BINPUT") and value > number:
            raise ValueError("objects numbered with gaps")
    return file.tell()


def _byte_count(storage):
    return storage.count * (2 if storage.dtype == "bfloat16" else np.dtype(storage.dtype).itemsize)


def _elements(data, storage, byte_order):
    """The elements of a storage, `(count,)`."""
    if len(data) != _byte_count(storage):
        raise ValueError("a storage of another size")
    if storage.dtype == "bfloat16":
        halves = np.frombuffer(data, f"{byte_order}u2")
        return (halves.astype("uint32") << 16).view("float32")
    dtype = np.dtype(storage.dtype)
    return np.frombuffer(data, dtype.newbyteorder(byte_order)).astype(dtype, copy=False)


def _is_state_dict(content):
    return isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(tensor, _Tensor) for name, tensor in content.items()
    )


def _arrays(state_dict, opened):
    elements, arrays = {}, {}
    for name, tensor in state_dict.items():
        storage, first = tensor.storage
        if storage.key not in elements:
            elements[storage.key] = opened.elements(storage)
        offset = first + tensor.offset
        arrays[name] = _strided(name, elements[storage.key], offset, tensor.shape, tensor.strides)
    return arrays


def _strided(name, elements, offset, shape, strides):
    """A view of `elements` that is within them."""
    if len(shape) != len(strides) or not all(map(_is_count, (offset, *shape, *strides))):
        raise ValueError("not a shape")
    count = 1
    for side in shape:
        count *= side
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if count and last >= len(elements):
        raise ValueError("an array behind its storage's end")
    if count > len(elements):
        raise _NotAllowedError(f"{len(elements)} elements expanded to {count}, {name[:100]!r}")
    size = elements.itemsize
    return np.lib.stride_tricks.as_strided(
        elements[offset:] if count else elements[:0],
        shape,
        [stride * size for stride in strides],
        writeable=False,
    )


def _is_count(value):
    return isinstance(value, int) and value >= 0
