import pytest

from tf_adaptive.files import replaced_whole, unfinished_folder


def test_file_is_replaced_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "numbers.csv"
    path.write_text("old")
    with replaced_whole(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path and temporary.suffix == ".csv"
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "numbers.csv"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), replaced_whole(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_program_left_goes_with_the_next_success(tmp_path):
    for name in (".unfinished-killed", "unfinished-else"):
        (tmp_path / name / "version").mkdir(parents=True)
        (tmp_path / name / "half.csv").write_text("half")
    (tmp_path / ".unfinished-file").write_text("none of ours")
    with pytest.raises(OSError, match="disk full"), unfinished_folder(tmp_path):
        raise OSError("disk full")
    assert (tmp_path / ".unfinished-killed").exists()
    with unfinished_folder(tmp_path) as running:
        with unfinished_folder(tmp_path) as folder:
            (folder / "whole.csv").write_text("whole")
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
            [".unfinished-file", running.name, "unfinished-else"]
        )


def test_a_folder_that_cannot_be_made(tmp_path):
    with pytest.raises(OSError, match="missing"), unfinished_folder(tmp_path / "missing"):
        pass
