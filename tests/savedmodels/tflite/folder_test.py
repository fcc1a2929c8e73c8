"""Folders that are whole or as they were."""

import functools

import pytest

from savedmodels import output_folder
from savedmodels.description import write_description
from savedmodels.tflite.folder import check_output
from tests.trainers.programs import files
from tf_adaptive import InputError

folder_replaced_whole = functools.partial(output_folder.folder_replaced_whole, check=check_output)


@pytest.fixture
def former(tmp_path):
    """A folder as the program leaves it, alone in its own."""
    with folder_replaced_whole(tmp_path / "out") as directory:
        write_description(directory, {})
        (directory / "former.tflite").write_text("former")
    return tmp_path / "out"


def test_a_new_conversion_takes_the_place_of_the_former(former):
    with folder_replaced_whole(former) as directory:
        (directory / "new.tflite").write_text("new")
        assert (former / "former.tflite").exists()
    assert files(former.parent) == {"out": None, "out/new.tflite": b"new"}


def test_an_error_leaves_the_former(former):
    before = files(former.parent)
    with pytest.raises(RuntimeError), folder_replaced_whole(former) as directory:
        (directory / "new.tflite").write_text("new")
        raise RuntimeError
    assert files(former.parent) == before


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "out").mkdir()
    with folder_replaced_whole(tmp_path / "out") as directory:
        (directory / "new.tflite").write_text("new")
    assert files(tmp_path) == {"out": None, "out/new.tflite": b"new"}


def test_refuses_a_folder_of_ours_with_something_else_in_it(former):
    (former / "notes.txt").write_text("mine")
    before = files(former.parent)
    with (
        pytest.raises(InputError, match="convert_tflite wrote. Received: .* holds 'notes.txt'"),
        folder_replaced_whole(former),
    ):
        pass
    assert files(former.parent) == before


def test_refuses_a_folder_below_a_file(tmp_path):
    (tmp_path / "file").write_text("text")
    expected = r"`output` must be a folder that can be made. Received: .*file/out \("
    with pytest.raises(InputError, match=expected), folder_replaced_whole(tmp_path / "file/out"):
        pass
