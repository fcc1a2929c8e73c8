import numpy as np
import pytest
from PIL import Image

from tf_adaptive import load_dataset
from tf_adaptive.errors import InputError
from tf_adaptive.runs.own_pictures import own_pictures


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("digits", train_size=64, validation_size=20)


def write_pictures(folder, dataset, positions, labels=None):
    for position, picture in zip(positions, dataset.pictures("test", positions), strict=True):
        inside = folder if labels is None else folder / dataset.class_names[labels[position]]
        inside.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[..., 0]).save(inside / f"{position:03}.png")


def all_of(dataset):
    images, labels = zip(*dataset.batches("test", 100), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_pictures_in_class_folders(tmp_path, dataset, capfd):
    images, labels = all_of(dataset)
    write_pictures(tmp_path / "mine", dataset, range(30), labels)
    batches, labelled, words = own_pictures(f"folder:{tmp_path / 'mine'}", dataset, 8)
    assert (labelled, words) == (True, "30 pictures of mine")
    read, read_labels = (np.concatenate(each) for each in zip(*batches, strict=True))
    in_order = sorted(range(30), key=lambda position: (labels[position], position))
    np.testing.assert_array_equal(read_labels, labels[in_order])
    np.testing.assert_allclose(read, images[in_order], atol=1e-6)


def test_pictures_without_classes(tmp_path, dataset, capfd):
    images, _ = all_of(dataset)
    write_pictures(tmp_path, dataset, range(5))
    (tmp_path / "notes.txt").write_text("no picture")
    batches, labelled, _ = own_pictures(f"folder:{tmp_path}", dataset, 8)
    ((read, _),) = batches
    assert not labelled
    np.testing.assert_allclose(read, images[:5], atol=1e-6)


def test_refusals(tmp_path, dataset, capfd):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other" / "cat").mkdir(parents=True)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no picture at all, but long enough to be one")
    for where, message in (
        (str(tmp_path / "empty"), "must be folder:PATH with a folder"),
        (f"folder:{tmp_path / 'nowhere'}", "must be folder:PATH with a folder"),
        (f"folder:{tmp_path / 'empty'}", "must hold pictures"),
        (f"folder:{tmp_path / 'other'}", "must be classes of the data set.*Received: 'cat'"),
    ):
        with pytest.raises(InputError, match=message):
            own_pictures(where, dataset, 8)
    batches, _, _ = own_pictures(f"folder:{tmp_path / 'broken'}", dataset, 8)
    with pytest.raises(InputError, match="must be whole files. Received: .*a.png"):
        list(batches)
