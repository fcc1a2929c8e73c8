import functools
import os

import numpy as np
import pytest
from PIL import Image

from tests.parts import assert_parts_are_the_whole
from tf_adaptive.data import load_dataset
from tf_adaptive.data.checked_files import CACHE_VARIABLE, CheckedFiles
from tf_adaptive.errors import InputError
from tf_adaptive.pictures import AS_SEEN, AS_STORED


def write_image(path, *, mode="RGB", size=(20, 16), color=(200, 100, 50)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).convert(mode).save(path)


def write_classes(folder, *, images=20):
    """Two classes of one colour each, `images` files in both."""
    for number in range(images):
        write_image(folder / "cat" / f"{number:02}.jpg", color=(250, 0, 0))
        write_image(folder / "dog" / f"{number:02}.png", color=(0, 250, 0))


def collect(batches):
    return [(images.numpy(), labels.numpy()) for images, labels in batches]


def test_class_folders(tmp_path):
    write_classes(tmp_path)
    (tmp_path / ".cache").mkdir()
    (tmp_path / "cat" / ".DS_Store").touch()
    dataset = load_dataset(f"folder:{tmp_path}", image_size=12)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.image_shape == (12, 12, 3)
    assert dataset.sizes == {"train": 26, "validation": 3, "calibration": 3, "test": 8}
    for batches in (dataset.batches("test", 3), dataset.training_batches(3, epoch=0, seed=0)):
        for images, labels in batches:
            assert images.dtype == np.float32 and labels.dtype == np.int32
            assert images.shape[1:] == (12, 12, 3)
            pixels = (images.numpy() * dataset.std + dataset.mean) * 255
            reds, greens = pixels[..., 0].mean(axis=(1, 2)), pixels[..., 1].mean(axis=(1, 2))
            np.testing.assert_array_equal(greens > reds, labels.numpy() == 1)
    labels = np.concatenate([labels for _, labels in collect(dataset.batches("test", 3))])
    np.testing.assert_array_equal(np.bincount(labels), [4, 4])


def test_train_and_test_folders(tmp_path):
    write_classes(tmp_path / "train", images=10)
    write_classes(tmp_path / "test", images=2)
    write_classes(tmp_path / "val", images=3)
    with pytest.warns(UserWarning, match="tested on test, .* held out of train; not used: val$"):
        dataset = load_dataset(f"folder:{tmp_path}", validation_size=6, train_size=5)
    assert dataset.image_shape == (224, 224, 3)
    assert dataset.sizes == {"train": 5, "validation": 6, "calibration": 2, "test": 4}


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_val_folder_is_the_test_where_there_is_no_other(tmp_path, name):
    write_classes(tmp_path / "train", images=10)
    write_classes(tmp_path / name, images=3)
    dataset = load_dataset(f"folder:{tmp_path}", image_size=8)
    assert dataset.sizes == {"train": 16, "validation": 2, "calibration": 2, "test": 6}


def test_a_train_folder_alone_gives_a_fifth_to_the_test(tmp_path):
    write_classes(tmp_path / "train", images=10)
    dataset = load_dataset(f"folder:{tmp_path}", image_size=8)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.sizes == {"train": 15, "validation": 1, "calibration": 0, "test": 4}


def test_test_folders_without_one_to_train_on(tmp_path):
    for name in ("val", "test"):
        write_classes(tmp_path / name, images=3)
    with pytest.raises(InputError, match="with test and val must have a folder train beside them"):
        load_dataset(f"folder:{tmp_path}")


def test_classes_may_be_named_as_splits_are(tmp_path):
    for name in ("test", "train", "plane"):
        for number in range(10):
            write_image(tmp_path / "vehicles" / name / f"{number}.png")
    dataset = load_dataset(f"folder:{tmp_path}/vehicles", image_size=8)
    assert dataset.class_names == ("plane", "test", "train")


def test_what_is_left_out_of_class_folders_is_counted(tmp_path):
    write_classes(tmp_path)
    for name in ("a.jfif", "b.JFIF", "c.tif", "notes"):
        (tmp_path / "cat" / name).touch()
    (tmp_path / "dog" / "more").mkdir()
    left_out = r"2 .jfif file\(s\), 1 .tif file\(s\), 1 file\(s\) without a suffix, 1 folder\(s\)$"
    with pytest.warns(UserWarning, match=f"left out of its class folders: {left_out}"):
        dataset = load_dataset(f"folder:{tmp_path}", image_size=12)
    assert sum(dataset.sizes.values()) == 40


def test_a_pass_repeats_and_goes_on_from_any_batch(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / str(number % 2) / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (15, 18, 3), dtype=np.uint8)).save(path)
    dataset = load_dataset(f"folder:{tmp_path}", image_size=10)
    whole = collect(dataset.training_batches(8, epoch=1, seed=3))
    assert [len(labels) for _, labels in whole] == [8, 8, 8, 2]
    rest = collect(dataset.training_batches(8, epoch=1, seed=3, first_batch=2))
    assert len(rest) == 2
    for (images, labels), (expected_images, expected_labels) in zip(rest, whole[2:], strict=True):
        np.testing.assert_array_equal(images, expected_images)
        np.testing.assert_array_equal(labels, expected_labels)
    other = collect(dataset.training_batches(8, epoch=2, seed=3))
    assert (other[0][0] != whole[0][0]).any()
    training = functools.partial(dataset.training_batches, 8, epoch=1, seed=3, first_batch=1)
    for batches_of in (training, functools.partial(dataset.batches, "validation", 4)):
        assert_parts_are_the_whole(batches_of, parts=2)


def test_pictures_are_what_batches_hold(tmp_path):
    write_classes(tmp_path)
    dataset = load_dataset(f"folder:{tmp_path}", image_size=12)
    images = np.concatenate([images for images, _ in collect(dataset.batches("test", 3))])
    pictures = dataset.pictures("test", [5, 0, 5])
    expected = (np.stack(pictures) / 255 - dataset.mean) / dataset.std
    np.testing.assert_allclose(images[[5, 0, 5]], expected, atol=1e-5)
    assert pictures[0].dtype == np.uint8
    assert dataset.pictures("test", []) == []


def test_every_kind_of_file_becomes_colour(tmp_path):
    grey = (102, 102, 102)  # one of the palette that Pillow gives to "P"
    for name, mode in (
        ("grey.jpg", "L"),
        ("grey.png", "L"),
        ("alpha.png", "RGBA"),
        ("palette.png", "P"),
        ("print.jpg", "CMYK"),
        ("black.gif", "P"),
        ("bits.bmp", "RGB"),
        ("web.WEBP", "RGB"),
    ):
        write_image(tmp_path / "test" / "cat" / name, mode=mode, color=grey)
    write_image(tmp_path / "test" / "dog" / "0.jpg")
    write_classes(tmp_path / "train", images=10)
    dataset = load_dataset(f"folder:{tmp_path}", image_size=8)
    pictures = dataset.pictures("test", range(8))
    assert {picture.shape for picture in pictures} == {(8, 8, 3)}
    np.testing.assert_allclose(np.stack(pictures), 102, atol=2)


def test_a_truncated_file_is_named(tmp_path):
    write_classes(tmp_path)
    for name in ("cat/07.jpg", "dog/03.png"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) * 3 // 4])
        with pytest.raises(InputError, match=f"\\(Invalid.*could not be decoded.*{name}\\.$"):
            load_dataset(f"folder:{tmp_path}")
        (tmp_path / name).write_bytes(whole)
    assert load_dataset(f"folder:{tmp_path}").num_classes == 2


def test_bad_folders(tmp_path):
    with pytest.raises(InputError, match="must be folder:PATH with a folder.*missing'"):
        load_dataset(f"folder:{tmp_path}/missing")
    with pytest.raises(InputError, match="must be folder:PATH with a folder.*'folder:'"):
        load_dataset("folder:")
    with pytest.raises(InputError, match="at least two class folders.*with none"):
        load_dataset(f"folder:{tmp_path}")
    write_image(tmp_path / "cat" / "0.jpg")
    with pytest.raises(InputError, match="at least two class folders.*with cat"):
        load_dataset(f"folder:{tmp_path}")
    (tmp_path / "dog").mkdir()
    with pytest.raises(InputError, match="must hold images.*dog with none"):
        load_dataset(f"folder:{tmp_path}")


def test_test_classes_must_be_those_of_training(tmp_path):
    write_classes(tmp_path / "train", images=10)
    write_classes(tmp_path / "test", images=2)
    write_image(tmp_path / "test" / "horse" / "0.jpg")
    with pytest.raises(InputError, match="must have the classes of the training folder"):
        load_dataset(f"folder:{tmp_path}")


def test_too_few_images_for_a_validation_split(tmp_path):
    write_classes(tmp_path, images=4)
    with pytest.raises(InputError, match="at least ten training images.*or a `validation_size`"):
        load_dataset(f"folder:{tmp_path}")


def test_files_are_decoded_once(tmp_path, monkeypatch):
    write_classes(tmp_path / "pictures")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    load_dataset(f"folder:{tmp_path}/pictures")
    paths = sorted(map(str, (tmp_path / "pictures").glob("*/*")))
    assert not CheckedFiles(paths, AS_SEEN).unchecked().any()
    # What is read otherwise is checked by itself.
    assert CheckedFiles(paths, AS_STORED).unchecked().all()

    # A damaged file of the same size is found by its time, and found again by the next start.
    damaged = tmp_path / "pictures" / "cat" / "07.jpg"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    os.utime(damaged, ns=(0, damaged.stat().st_mtime_ns + 1))
    for _ in range(2):
        with pytest.raises(InputError, match="could not be decoded.*07.jpg"):
            load_dataset(f"folder:{tmp_path}/pictures")


def test_all_unreadable_files_are_named_at_once(tmp_path, monkeypatch):
    write_classes(tmp_path / "pictures")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    bad = sorted((tmp_path / "pictures" / "cat").glob("*"))[:12]
    assert len(bad) == 12
    for path in bad:
        path.write_bytes(b"no picture")
    with pytest.raises(InputError, match="12 image files.* and 2 more, all in .*unreadable.txt"):
        load_dataset(f"folder:{tmp_path}/pictures")
    named = (tmp_path / "cache" / "unreadable.txt").read_text().splitlines()
    assert named == list(map(str, bad))


@pytest.mark.parametrize("damage", ["no folder", "no database"])
def test_what_cannot_be_remembered_is_checked_again(tmp_path, monkeypatch, damage):
    write_classes(tmp_path / "pictures")
    cache = tmp_path / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, str(cache))
    if damage == "no folder":
        cache.write_text("a file")
    else:
        cache.mkdir()
        (cache / "checked_pictures.sqlite").write_text("no database" * 100)
    assert load_dataset(f"folder:{tmp_path}/pictures").num_classes == 2
    (path, *_) = (tmp_path / "pictures" / "cat").glob("*")
    # A damaged memory is made anew.
    assert CheckedFiles([path], AS_SEEN).unchecked().all() == (damage == "no folder")
    assert load_dataset(f"folder:{tmp_path}/pictures").num_classes == 2
