import os
import pathlib
import pickle
import resource
import struct
import zipfile

import numpy as np
import pytest

from tests.pytorch_files import (
    Call,
    Global,
    Stored,
    Strided,
    pickled,
    write_legacy_file,
    write_zip_file,
)
from tf_adaptive.errors import InputError
from tf_adaptive.models.pytorch_file import read_pytorch_file

REFERENCE = pathlib.Path(__file__).parents[1] / "reference"
WRITERS = pytest.mark.parametrize("write", [write_zip_file, write_legacy_file])
DAMAGED = "^`checkpoint` must be a whole file of PyTorch weights. Received: '.*', which is damaged"


def numbered(*shape):
    return np.arange(np.prod(shape), dtype="float32").reshape(shape) / 4


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pth.tar"


# What PyTorch 2.13 wrote from these arrays.
@pytest.mark.parametrize("format_name", ["zip", "legacy"])
def test_arrays_of_every_dtype_and_layout_that_pytorch_wrote(format_name):
    arrays = read_pytorch_file(REFERENCE / f"pytorch_{format_name}.pth")
    dtypes = ("float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
    expected = {
        "channels_last": numbered(3, 2, 3, 3),
        "whole": numbered(4, 6),
        "transposed": numbered(4, 6).T,
        "part": numbered(4, 6)[1:3, 1::2],
        "parameter": numbered(3),
        "scalar": np.array(12345678901),
        "empty": np.zeros((0, 3), "float32"),
        **{dtype: np.array([0, 1, 100], dtype) for dtype in dtypes},
        "bfloat16": np.array([0, 1, 100], "float32"),
    }
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        assert arrays[name].dtype == array.dtype, name
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)
    assert np.shares_memory(arrays["whole"], arrays["part"])
    with pytest.raises(ValueError, match="read-only"):
        arrays["whole"][0, 0] = 1


@pytest.mark.parametrize("format_name", ["zip", "legacy"])
def test_the_state_dict_of_a_training_that_pytorch_wrote(format_name):
    arrays = read_pytorch_file(REFERENCE / f"pytorch_training_{format_name}.pth")
    expected = {
        "module.0.weight": numbered(3, 2, 1, 1),
        "module.0.bias": numbered(3),
        "module.1.weight": numbered(3),
        "module.1.bias": numbered(3),
        "module.1.running_mean": np.zeros(3),
        "module.1.running_var": np.ones(3),
        "module.1.num_batches_tracked": np.array(0),
    }
    assert list(arrays) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)


@WRITERS
def test_strides(path, write):
    elements = np.arange(24.0)
    write(path, {"a": Strided(elements, 3, (2, 3), (1, 4)), "b": Strided(elements, 23, (), ())})
    arrays = read_pytorch_file(path)
    np.testing.assert_array_equal(arrays["a"], [[3, 7, 11], [4, 8, 12]])
    np.testing.assert_array_equal(arrays["b"], 23)


@pytest.mark.parametrize(("first", "is_within"), [(0, True), (2, True), (3, False), (-1, False)])
def test_parts_of_storages_in_files_of_old_versions(path, first, is_within):
    elements = numbered(6)
    part = ("storage", Global("torch", "FloatStorage"), "0", "cpu", 6, ("1", first, 4))
    rebuild = Global("torch._utils", "_rebuild_tensor")
    write_legacy_file(path, {"all": elements, "part": Call(rebuild, (Stored(part), 1, (3,), (1,)))})
    if is_within:
        np.testing.assert_array_equal(read_pytorch_file(path)["part"], elements[first + 1 :][:3])
    else:
        with pytest.raises(InputError, match=DAMAGED):
            read_pytorch_file(path)


def test_the_bytes_of_another_machine(path):
    elements = np.array([1, -2, 300])
    write_zip_file(path, {"a": elements}, leave_out=["byteorder"])
    np.testing.assert_array_equal(read_pytorch_file(path)["a"], elements)
    swapped = [("byteorder", b"big"), ("data/0", elements.astype(">i8").tobytes())]
    write_zip_file(path, {"a": elements}, more=swapped)
    np.testing.assert_array_equal(read_pytorch_file(path)["a"], elements)


@WRITERS
@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("builtins", "eval"), ("torch", "QInt8Storage"), ("torch.nn", "Conv2d")],
)
def test_nothing_else_is_looked_up(path, write, module, name):
    write(path, {"a": np.zeros(2), "b": Call(Global(module, name), ("touch called",))})
    with pytest.raises(
        InputError, match=f"^`checkpoint` must hold arrays, .*'{module}.{name}'\\.$"
    ):
        read_pytorch_file(path)


@WRITERS
@pytest.mark.parametrize(
    "array",
    [
        Strided(np.zeros(6), 0, (7,), (1,)),
        Strided(np.zeros(6), 1, (2, 3), (3, 1)),
        Strided(np.zeros(6), 6, (1,), (1,)),
        Strided(np.zeros(6), -1, (2,), (1,)),
        Strided(np.zeros(6), 5, (2,), (-1,)),
        Strided(np.zeros(6), 0, (-1,), (1,)),
        Strided(np.zeros(6), 0, (2, 2), (1,)),
        Strided(np.zeros(6), 0, (2.0,), (1,)),
        Strided(np.zeros(6), 0, 2, 1),
        Strided(np.zeros(6), 2**70, (1,), (1,)),
        Strided(np.zeros(6), 0, (1,) * 100, (1,) * 100),
    ],
)
def test_no_array_reaches_beyond_its_elements(path, write, array):
    write(path, {"a": array})
    with pytest.raises(InputError, match=DAMAGED):
        read_pytorch_file(path)


def test_few_elements_are_no_large_array(path):
    write_zip_file(path, {"a": Strided(np.zeros(6), 0, (2**40, 6), (0, 1))})
    with pytest.raises(InputError, match="holds 6 elements expanded to 6597069766656, 'a'\\.$"):
        read_pytorch_file(path)


@WRITERS
@pytest.mark.parametrize(
    "content", [{"epoch": 3}, [1, 2], None, {"a": [np.zeros(2)]}, {3: np.zeros(2)}]
)
def test_refuses_a_file_without_a_state_dict(path, write, content):
    write(path, content)
    with pytest.raises(InputError, match="^`checkpoint` must hold a state dict, alone or under"):
        read_pytorch_file(path)


@WRITERS
def test_refuses_every_beginning_of_a_file(path, write):
    write(path, {"state_dict": {"a": numbered(3), "b": numbered(2, 2)}, "epoch": 3})
    assert len(read_pytorch_file(path)) == 2
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=DAMAGED):
            read_pytorch_file(path)


def test_refuses_what_is_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="^`weights` must be a file. Received: weights='"):
            read_pytorch_file(path, argument="weights")


@pytest.mark.parametrize(
    "data", [b"not a checkpoint", b"\x80\x04K\x01.", pickle.dumps({"a": 1}), b"PK\x03\x04"]
)
def test_refuses_other_files(path, data):
    path.write_bytes(data)
    with pytest.raises(InputError, match=DAMAGED):
        read_pytorch_file(path)


def test_refuses_legacy_files_that_contradict_themselves(path):
    for arguments in ({"magic_number": 1}, {"protocol": 1002}, {"sizes": {"0": 2}}):
        write_legacy_file(path, {"a": numbered(3)}, **arguments)
        with pytest.raises(InputError, match=DAMAGED):
            read_pytorch_file(path)


def test_refuses_archives_that_contradict_themselves(path):
    for arguments in (
        {"leave_out": ["data.pkl"]},
        {"leave_out": ["data/0"]},
        {"more": [("data/0", b"12345678")]},
        # A few bytes that would be a thousand times as many.
        {"compression": zipfile.ZIP_DEFLATED, "more": [("bomb", bytes(10**6))]},
    ):
        write_zip_file(path, {"a": numbered(3)}, **arguments)
        with pytest.raises(InputError, match=DAMAGED):
            read_pytorch_file(path)


def test_refuses_changed_elements(path):
    write_zip_file(path, {"a": numbered(3)})
    data = path.read_bytes()
    assert data.count(numbered(3).tobytes()) == 1
    path.write_bytes(data.replace(numbered(3).tobytes(), numbered(3)[::-1].tobytes()))
    with pytest.raises(InputError, match=DAMAGED):
        read_pytorch_file(path)


@pytest.mark.parametrize(
    "promise",
    [
        b"\x8e" + struct.pack("<Q", 2**36),  # Bytes,
        b"\x8d" + struct.pack("<Q", 2**36),  # a text,
        b"\x8b" + struct.pack("<i", 2**31 - 1),  # a number,
        b"\x95" + struct.pack("<Q", 2**36),  # a frame of so many bytes;
        b"Nr" + struct.pack("<I", 10**8),  # an object of that number.
        b"Np100000000\n",
    ],
)
@pytest.mark.parametrize("is_zip", [True, False])
def test_large_promises_take_no_memory(path, promise, is_zip):
    described = b"\x80\x04" + promise + b"0}."
    if is_zip:
        write_zip_file(path, {}, more=[("data.pkl", described)])
    else:
        magic_number = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
        path.write_bytes(magic_number + described)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=DAMAGED):
        read_pytorch_file(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_attributes_of_the_pickles_dictionaries_are_left_aside(path):
    """PyTorch gives a state dict `_metadata`; another file might give it a method's name."""
    start, _ = pickled(Call(Global("collections", "OrderedDict"), ()))
    state, _ = pickled({"_metadata": {}, "items": None})
    items, storages = pickled({"a": numbered(3)})
    # An ordered dictionary, its items (without the empty dictionary in front), its attributes.
    data = start[:-1] + items[3:-1] + state[2:-1] + b"b."
    members = [("data.pkl", data), ("data/0", storages["0"].tobytes())]
    write_zip_file(path, {}, more=members)
    arrays = read_pytorch_file(os.fspath(path))
    np.testing.assert_array_equal(arrays["a"], numbered(3))
