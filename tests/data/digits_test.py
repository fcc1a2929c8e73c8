import numpy as np
import pytest
from sklearn import datasets

from tf_adaptive.data import ImageDataset, load_dataset
from tf_adaptive.errors import InputError


def pictures_and_labels(dataset, split):
    labels = np.concatenate([labels.numpy() for _, labels in dataset.batches(split, 256)])
    return np.stack(dataset.pictures(split, range(dataset.sizes[split]))), labels


def test_digits():
    dataset = load_dataset("digits")
    assert isinstance(dataset, ImageDataset)
    assert dataset.class_names == tuple("0123456789")
    assert dataset.image_shape == (24, 24, 1)
    assert dataset.sizes == {"train": 1_152, "validation": 143, "calibration": 143, "test": 359}


@pytest.mark.parametrize("split", ["train", "validation", "calibration", "test"])
def test_each_split_has_the_proportions_of_the_whole(split):
    dataset = load_dataset("digits")
    _, labels = pictures_and_labels(dataset, split)
    expected = np.bincount(datasets.load_digits().target) * dataset.sizes[split] / 1_797
    np.testing.assert_allclose(np.bincount(labels), expected, atol=1.5)


def test_the_splits_are_all_of_scikit_learns_images_once():
    dataset = load_dataset("digits", image_size=8)
    parts = [pictures_and_labels(dataset, split) for split in dataset.sizes]
    pictures, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    original = datasets.load_digits()
    expected = np.rint(original.images * 255 / 16).astype(np.uint8)
    found = sorted((p.tobytes(), int(n)) for p, n in zip(pictures, labels, strict=True))
    assert found == sorted(
        (p.tobytes(), int(n)) for p, n in zip(expected, original.target, strict=True)
    )


def test_the_seed_moves_the_validation_split_and_not_the_test_split():
    first, second = load_dataset("digits", seed=0), load_dataset("digits", seed=1)
    for split, same in (("test", True), ("validation", False)):
        pictures, _ = pictures_and_labels(first, split)
        others, _ = pictures_and_labels(second, split)
        assert (pictures == others).all() == same


def test_digits_are_shifted_by_at_most_a_pixel_of_theirs_and_never_flipped():
    dataset = load_dataset("digits", image_size=8)
    unshifted, allowed = set(), set()
    for picture in dataset.pictures("train", range(dataset.sizes["train"])):
        unshifted.add(picture.tobytes())
        padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)))
        allowed |= {
            padded[top : top + 8, left : left + 8].tobytes()
            for top in range(3)
            for left in range(3)
        }
    batches = dataset.training_batches(256, epoch=0, seed=0)
    images = np.concatenate([images.numpy() for images, _ in batches])
    pixels = np.rint((images * dataset.std + dataset.mean) * 255).astype(np.uint8)
    found = {picture.tobytes() for picture in pixels}
    assert found <= allowed
    assert not found <= unshifted


def test_sizes_can_be_given():
    dataset = load_dataset("digits", image_size=16, train_size=64, validation_size=32)
    assert dataset.image_shape == (16, 16, 1)
    assert dataset.sizes == {"train": 64, "validation": 32, "calibration": 143, "test": 359}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"image_size": 0}, "`image_size` must be a whole number from 1 on.*image_size=0"),
        ({"image_size": 24.0}, "`image_size` must be a whole number.*image_size=24.0"),
        ({"train_size": 0}, "`train_size` must be a whole number from 1 on.*train_size=0"),
        ({"train_size": 1_296}, "`train_size` must be from 1 to 1295.*train_size=1296"),
        ({"validation_size": -1}, "`validation_size` must be a whole number from 1 on"),
        ({"validation_size": 1_438}, "`validation_size` must be from 1 to 1437"),
        ({"seed": -1}, "`seed` must be a whole number from 0 to"),
        ({"seed": 2**32}, "`seed` must be a whole number from 0 to 4294967295"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        load_dataset("digits", **arguments)


def test_a_name_must_be_a_string():
    with pytest.raises(InputError, match="`dataset` must be a string. Received: dataset=None"):
        load_dataset(None)
