import pytest

from tf_adaptive.files import replaced_whole


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
