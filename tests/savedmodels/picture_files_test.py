import os

import pytest

from savedmodels import picture_files
from savedmodels.picture_files import find_pictures, read_picture
from tf_adaptive.errors import InputError


def made(folder, *names):
    """Empty files of these names, as paths in order."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return [str(path) for path in paths]


def test_folders_are_searched_with_all_folders_in_them(tmp_path):
    pictures = made(tmp_path, "a.jpg", "b/a.PNG", "b/c/d.JpEg", "c.png")
    made(tmp_path, "b/notes.txt", "jpg", "d.tif", ".hidden.jpg", ".trash/e.jpg", "f.jpg/g.txt")
    assert find_pictures([str(tmp_path)]) == (pictures, {})


def test_arguments_keep_their_order_and_files_any_name(tmp_path):
    first, last = made(tmp_path, "z/first.jpg", "a/last")
    arguments = [str(tmp_path / "z"), "-", str(tmp_path / "missing.jpg"), last, last]
    assert find_pictures(arguments) == ([first, *arguments[1:]], {})


def test_folders_without_pictures(tmp_path, monkeypatch):
    (picture,) = made(tmp_path, "full/a.jpg")
    made(tmp_path, "full/locked/b.jpg", "texts/a.txt")
    scandir = os.scandir

    def refuses_locked(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    # The permissions themselves do not stop root.
    monkeypatch.setattr(os, "scandir", refuses_locked)
    paths, refused = find_pictures([str(tmp_path / name) for name in ("texts", "full")])
    assert paths == [picture]
    assert refused == {
        str(
            tmp_path / "texts"
        ): "A folder must hold pictures (.bmp, .gif, .jpeg, .jpg, .png, .webp).",
        str(tmp_path / "full/locked"): "Permission denied.",
    }


def test_reads_files_and_standard_input(tmp_path, monkeypatch):
    path = tmp_path / "picture.jpg"
    path.write_bytes(b"content")
    assert read_picture(str(path)) == b"content"
    read, write = os.pipe()
    os.write(write, b"given")
    os.close(write)
    before = os.dup(0)
    os.dup2(read, 0)
    try:
        assert read_picture("-") == b"given"
        assert read_picture("-") == b""
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(read)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.jpg", "No such file or directory"),
        ("file.jpg/within.jpg", "Not a directory"),
        (".", "Is a directory"),
        ("n" * 300, "File name too long"),
    ],
)
def test_what_cannot_be_read(tmp_path, name, reason):
    made(tmp_path, "file.jpg")
    with pytest.raises(InputError, match=f"^{reason}\\.$"):
        read_picture(str(tmp_path / name))


def test_large_files_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_files, "MAX_FILE_BYTES", 1000)
    path = tmp_path / "picture.png"
    path.write_bytes(bytes(1000))
    assert len(read_picture(str(path))) == 1000
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match=f"at most 1000 bytes. Received: at least {2**40}"):
        read_picture(str(path))
    with pytest.raises(InputError, match="at most 1000 bytes. Received: at least 1001"):
        read_picture("/dev/zero")
