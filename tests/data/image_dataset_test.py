import functools

import numpy as np
import pytest

from tests.parts import assert_parts_are_the_whole
from tf_adaptive.data.array_images import array_dataset
from tf_adaptive.errors import InputError


@pytest.fixture(scope="module")
def dataset():
    """100 training and 10 test images; each colour image's every pixel holds its number."""
    numbers = np.arange(110, dtype=np.uint8)
    images = np.broadcast_to(numbers[:, None, None, None], (110, 6, 8, 3)).copy()
    labels = np.arange(110) % 4
    return array_dataset(
        "numbers",
        class_names=["a", "b", "c", "d"],
        training=(images[:100], labels[:100]),
        test=(images[100:], labels[100:]),
        train_size=None,
        validation_size=None,
        seed=0,
        flip=True,
    )


def collect(batches):
    return [(images.numpy(), labels.numpy()) for images, labels in batches]


def numbers(dataset, images):
    """Which images these are; a shift leaves the middle pixel inside the image."""
    restored = (images * np.array(dataset.std) + np.array(dataset.mean)) * 255
    return np.rint(restored[:, 3, 4, 0]).astype(int)


def assert_equal_batches(batches, others):
    assert len(batches) == len(others)
    for (images, labels), (other_images, other_labels) in zip(batches, others, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


def test_attributes(dataset):
    assert dataset.name == "numbers"
    assert dataset.class_names == ("a", "b", "c", "d")
    assert dataset.num_classes == 4
    assert dataset.image_shape == (6, 8, 3)
    assert dataset.sizes == {"train": 90, "validation": 10, "calibration": 0, "test": 10}


def test_batches_hold_each_image_once_with_its_label(dataset):
    found = {}
    for split in ("train", "validation", "test"):
        batches = collect(dataset.batches(split, 8))
        images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        assert images.dtype == np.float32 and labels.dtype == np.int32
        found[split] = numbers(dataset, images)
        np.testing.assert_array_equal(labels, found[split] % 4)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([found["train"], found["validation"]])), np.arange(100)
    )
    np.testing.assert_array_equal(found["test"], np.arange(100, 110))


def test_a_training_pass_holds_each_image_once_in_ceil_batches(dataset):
    batches = collect(dataset.training_batches(16, epoch=0, seed=1))
    assert [len(labels) for _, labels in batches] == [16, 16, 16, 16, 16, 10]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert images.shape == (90, 6, 8, 3)
    assert images.dtype == np.float32 and labels.dtype == np.int32
    found = numbers(dataset, images)
    np.testing.assert_array_equal(labels, found % 4)
    assert (np.diff(found) < 0).any()
    ordered = np.concatenate([images for images, _ in collect(dataset.batches("train", 16))])
    np.testing.assert_array_equal(np.sort(found), numbers(dataset, ordered))


def test_a_pass_is_a_pure_function_of_seed_and_epoch(dataset):
    whole = collect(dataset.training_batches(16, epoch=2, seed=7))
    assert_equal_batches(collect(dataset.training_batches(16, epoch=2, seed=7)), whole)
    for epoch, seed in ((3, 7), (2, 8), (7, 2)):
        other = collect(dataset.training_batches(16, epoch=epoch, seed=seed))
        assert (numbers(dataset, other[0][0]) != numbers(dataset, whole[0][0])).any()


@pytest.mark.parametrize("first_batch", [1, 4, 5, 6])
def test_a_pass_goes_on_from_any_batch(dataset, first_batch):
    whole = collect(dataset.training_batches(16, epoch=1, seed=0))
    rest = collect(dataset.training_batches(16, epoch=1, seed=0, first_batch=first_batch))
    assert_equal_batches(rest, whole[first_batch:])


def test_normalization(dataset):
    pixels = np.stack(dataset.pictures("train", range(90))) / 255
    np.testing.assert_allclose(dataset.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(dataset.std, pixels.std(axis=(0, 1, 2)), rtol=1e-9)
    images = np.concatenate([images for images, _ in collect(dataset.batches("train", 64))])
    np.testing.assert_allclose(images, (pixels - dataset.mean) / dataset.std, atol=1e-5)


def test_pictures_are_the_images_at_these_positions(dataset):
    images = np.concatenate([images for images, _ in collect(dataset.batches("validation", 4))])
    pictures = dataset.pictures("validation", [7, 0, 7])
    assert [picture.shape for picture in pictures] == [(6, 8, 3)] * 3
    assert {picture.dtype for picture in pictures} == {np.dtype(np.uint8)}
    expected = numbers(dataset, images)[[7, 0, 7]]
    assert [picture[0, 0, 0] for picture in pictures] == expected.tolist()
    assert dataset.pictures("validation", []) == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"batch_size": 0}, "`batch_size` must be a whole number from 1 on. .*batch_size=0"),
        ({"batch_size": 2.5}, "`batch_size` must be a whole number from 1 on. .*batch_size=2.5"),
        ({"batch_size": True}, "`batch_size` must be a whole number"),
        ({"epoch": -1}, "`epoch` must be a whole number from 0 on. .*epoch=-1"),
        ({"seed": -1}, "`seed` must be a whole number from 0 on. .*seed=-1"),
        ({"first_batch": -1}, "`first_batch` must be a whole number from 0 on"),
    ],
)
def test_training_batches_refuses(dataset, arguments, message):
    with pytest.raises(InputError, match=message):
        dataset.training_batches(**{"batch_size": 8, "epoch": 0, "seed": 0, **arguments})


def test_bad_split_position_and_batch_size(dataset):
    with pytest.raises(InputError, match="`split` must be one of.*Did you mean 'validation'"):
        dataset.batches("validatoin", 8)
    with pytest.raises(InputError, match="`batch_size` must be a whole number from 1 on"):
        dataset.batches("test", 0)
    with pytest.raises(InputError, match="`split` must be one of"):
        dataset.pictures("all", [0])
    with pytest.raises(InputError, match="`indices` must be from 0 to 9 .*Received: 10"):
        dataset.pictures("test", [3, 10])
    with pytest.raises(InputError, match="`indices` must be from 0 to 9 .*Received: -1"):
        dataset.pictures("test", [-1])


@pytest.fixture(scope="module")
def grey():
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1)).astype("uint8")
    labels = np.arange(60) % 2
    return array_dataset(
        "grey",
        class_names=["a", "b"],
        training=(images[:50], labels[:50]),
        test=(images[50:], labels[50:]),
        train_size=None,
        validation_size=None,
        seed=0,
        flip=True,
    )


def test_grey_images_seen_in_colour(grey):
    colour = grey.seen_with(channels=3)
    assert (colour.image_shape, grey.image_shape) == ((8, 8, 3), (8, 8, 1))
    assert (colour.mean, colour.std) == (grey.mean * 3, grey.std * 3)
    for batches, others in (
        (grey.batches("test", 4), colour.batches("test", 4)),
        (
            grey.training_batches(8, epoch=1, seed=2, first_batch=1),
            colour.training_batches(8, epoch=1, seed=2, first_batch=1),
        ),
    ):
        ours, theirs = collect(batches), collect(others)
        assert_equal_batches(
            [(np.repeat(images, 3, -1), labels) for images, labels in ours], theirs
        )
    for picture, other in zip(
        grey.pictures("test", [3, 0]), colour.pictures("test", [3, 0]), strict=True
    ):
        np.testing.assert_array_equal(np.repeat(picture, 3, -1), other)
        assert other.dtype == np.uint8
    assert colour.description()["image_shape"] == [8, 8, 3]


def test_seen_with_another_mean_and_std(grey, dataset):
    seen = grey.seen_with(channels=3, mean=(0.1, 0.2, 0.3), std=(1, 2, 4))
    ((images, _),) = collect(seen.batches("test", 10))
    pixels = np.stack(seen.pictures("test", range(10)))
    np.testing.assert_allclose(
        images, (pixels / 255 - [0.1, 0.2, 0.3]) / [1, 2, 4], rtol=1e-5, atol=1e-6
    )
    assert (seen.description()["mean"], seen.description()["std"]) == ([0.1, 0.2, 0.3], [1, 2, 4])
    same = dataset.seen_with()
    assert same.description() == dataset.description()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 2}, "`channels` must be 1 or 3 for the images of 'grey'"),
        ({"mean": (0.5,) * 3}, "`mean` must be 1 finite numbers"),
        ({"channels": 3, "std": (1,)}, "`std` must be 3 finite numbers"),
        ({"std": (0.0,)}, "`std` must be above 0"),
        ({"mean": (float("nan"),)}, "`mean` must be 1 finite numbers"),
    ],
)
def test_refuses_to_be_seen_otherwise(grey, arguments, message):
    with pytest.raises(InputError, match=message):
        grey.seen_with(**arguments)


def test_colour_images_stay_in_colour(dataset):
    with pytest.raises(InputError, match="`channels` must be 3 for the images"):
        dataset.seen_with(channels=1)


@pytest.mark.parametrize("parts", [2, 4])
def test_workers_see_their_part_of_every_batch(dataset, parts):
    training = functools.partial(dataset.training_batches, 8, epoch=1, seed=3, first_batch=2)
    for batches_of in (training, functools.partial(dataset.batches, "test", 8)):
        assert_parts_are_the_whole(batches_of, parts=parts)
