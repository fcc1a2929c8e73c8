import numpy as np
import pytest

from tf_adaptive.data.splits import hold_out, split_sizes, split_validation
from tf_adaptive.errors import InputError


@pytest.mark.parametrize(
    "available, given, expected",
    [
        (60_000, {}, (55_000, 5_000)),
        (1_438, {}, (1_295, 143)),
        (1_281_167, {"default_validation_size": 50_000}, (1_231_167, 50_000)),
        (60_000, {"validation_size": 20}, (59_980, 20)),
        (60_000, {"validation_size": 20, "train_size": 64}, (64, 20)),
        (2, {"validation_size": 1}, (1, 1)),
    ],
)
def test_split_sizes(available, given, expected):
    given = {"train_size": None, "validation_size": None, **given}
    assert split_sizes(available, **given) == expected


@pytest.mark.parametrize(
    "available, given, message",
    [
        (100, {"validation_size": 100}, "`validation_size` must be from 1 to 99.*=100"),
        (100, {"validation_size": 0}, "`validation_size` must be from 1 to 99.*=0"),
        (9, {}, "at least ten training images, .* Received: 9 training images"),
        (100, {"train_size": 91}, "`train_size` must be from 1 to 90.*train_size=91"),
        (100, {"train_size": 0}, "`train_size` must be from 1 to 90.*train_size=0"),
    ],
)
def test_split_sizes_refuses(available, given, message):
    with pytest.raises(InputError, match=message):
        split_sizes(available, **{"train_size": None, "validation_size": None, **given})


def test_hold_out_keeps_the_proportions():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    stay, held_out = hold_out(labels, 100, seed=0)
    np.testing.assert_array_equal(np.sort(np.concatenate([stay, held_out])), np.arange(1_000))
    np.testing.assert_array_equal(np.bincount(labels[held_out]), [60, 30, 10])


@pytest.mark.parametrize(
    "labels, size",
    [
        ([0, 0, 0, 0, 1], 2),
        ([0, 0, 1, 1, 2, 2], 2),
        ([0, 0, 1, 1, 2, 2], 4),
        ([0, 0, 1, 1], 0),
    ],
)
def test_hold_out_where_proportions_cannot_be_kept(labels, size):
    stay, held_out = hold_out(np.array(labels), size, seed=0)
    assert len(held_out) == size
    np.testing.assert_array_equal(np.sort(np.concatenate([stay, held_out])), range(len(labels)))


def test_split_validation_is_seeded_and_its_validation_does_not_depend_on_train_size():
    labels = np.arange(1_000) % 10
    arguments = {"train_size": None, "validation_size": None}
    train, validation = split_validation(labels, **arguments, seed=0)
    assert (len(train), len(validation)) == (900, 100)
    assert not set(train) & set(validation)
    again = split_validation(labels, **arguments, seed=0)
    np.testing.assert_array_equal(again[1], validation)
    other = split_validation(labels, **arguments, seed=1)
    assert set(other[1]) != set(validation)
    few, same = split_validation(labels, train_size=50, validation_size=None, seed=0)
    np.testing.assert_array_equal(same, validation)
    assert set(few) < set(train)
    np.testing.assert_array_equal(np.bincount(labels[few]), [5] * 10)
