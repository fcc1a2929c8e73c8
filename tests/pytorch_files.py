"""Writes what `torch.save` would, without PyTorch: whole files, and files with something wrong."""

import collections
import io
import pickle
import struct
import zipfile

import numpy as np

MAGIC_NUMBER, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage"}


class Strided(collections.namedtuple("Strided", "elements offset shape strides")):
    """An array as a file describes it, checked by nobody."""


class Global(collections.namedtuple("Global", "module name")):
    """A class or function that unpickling looks up."""


class Call(collections.namedtuple("Call", "function arguments")):
    """What a function returns to the unpickler."""


def write_zip_file(path, content, *, compression=zipfile.ZIP_STORED, leave_out=(), more=()):
    """The format of PyTorch 1.6 and later; `more` are pairs of member names and bytes."""
    described, storages = pickled(content)
    members = {"data.pkl": described, "byteorder": b"little", "version": b"3\n"}
    members |= {f"data/{key}": elements.tobytes() for key, elements in storages.items()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in {**members, **dict(more)}.items():
            if name not in leave_out:
                archive.writestr(f"archive/{name}", data)


def write_legacy_file(path, content, *, magic_number=MAGIC_NUMBER, protocol=PROTOCOL, sizes=None):
    """The format before; `sizes` are what the file says of its storages, by key."""
    described, storages = pickled(content, legacy=True)
    machine = {"protocol_version": PROTOCOL, "little_endian": True}
    with open(path, "wb") as file:
        for value in (magic_number, protocol, machine):
            pickle.dump(value, file, protocol=2)
        file.write(described)
        pickle.dump(list(storages), file, protocol=2)
        for key, elements in storages.items():
            file.write(struct.pack("<q", (sizes or {}).get(key, elements.size)))
            file.write(elements.tobytes())


def pickled(content, *, legacy=False):
    """A pickle of what a file holds, and its storages by key.

    Arrays become calls of PyTorch's functions, whose names Python's own pickler would look up.
    """
    stream, storages = io.BytesIO(), {}

    def put(value):
        if isinstance(value, np.ndarray):
            elements = np.ascontiguousarray(value).reshape(-1)
            strides = [
                stride // value.itemsize for stride in np.empty_like(value, order="C").strides
            ]
            put(Strided(elements, 0, value.shape, tuple(strides)))
        elif isinstance(value, Strided):
            key = str(len(storages))
            storages[key] = value.elements
            storage = ["storage", Global("torch", _STORAGES[value.elements.dtype.name]), key, "cpu"]
            storage += [value.elements.size] + [None] * legacy
            rebuild = Global("torch._utils", "_rebuild_tensor_v2")
            hooks = Call(Global("collections", "OrderedDict"), ())
            stored = Stored(tuple(storage))
            put(Call(rebuild, (stored, value.offset, value.shape, value.strides, False, hooks)))
        elif isinstance(value, Stored):
            put(value.identifier)
            stream.write(b"Q")
        elif isinstance(value, Global):
            stream.write(f"c{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Call):
            put(value.function)
            put(value.arguments)
            stream.write(b"R")
        elif isinstance(value, dict):
            stream.write(b"}(")
            for item in value.items():
                put(item[0])
                put(item[1])
            stream.write(b"u")
        elif isinstance(value, tuple | list):
            stream.write(b"(")
            for item in value:
                put(item)
            stream.write(b"t" if isinstance(value, tuple) else b"l")
        else:
            # Numbers, texts and None, without the protocol in front and the stop behind.
            stream.write(pickle.dumps(value, protocol=2)[2:-1])

    stream.write(b"\x80\x02")
    put(content)
    stream.write(b".")
    return stream.getvalue(), storages


class Stored(collections.namedtuple("Stored", "identifier")):
    """A storage that the file holds outside the pickle."""
