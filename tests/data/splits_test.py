import numpy as np
import pytest

from tf_adaptive.data.splits import hold_out, split_sizes, split_training
from tf_adaptive.errors import InputError

UNSET = {
    **dict.fromkeys(("train_size", "validation_size", "calibration_size")),
    "num_classes": 10,
}


@pytest.mark.parametrize(
    "available, given, expected",
    [
        (60_000, {}, (50_000, 5_000, 5_000)),
        (1_438, {}, (1_152, 143, 143)),
        (1_281_167, {"default_validation_size": 50_000}, (1_181_167, 50_000, 50_000)),
        (60_000, {"validation_size": 20}, (54_980, 20, 5_000)),
        (60_000, {"validation_size": 20, "train_size": 64}, (64, 20, 5_000)),
        (60_000, {"validation_size": 5_000, "train_size": 54_000}, (54_000, 5_000, 1_000)),
        (60_000, {"calibration_size": 0}, (55_000, 5_000, 0)),
        (60_000, {"calibration_size": 30}, (54_970, 5_000, 30)),
        # Fewer than the ten classes cannot stand for them.
        (99, {}, (90, 9, 0)),
        (2, {"validation_size": 1}, (1, 1, 0)),
    ],
)
def test_split_sizes(available, given, expected):
    assert split_sizes(available, **{**UNSET, **given}) == expected


@pytest.mark.parametrize(
    "available, given, message",
    [
        (100, {"validation_size": 100}, "`validation_size` must be from 1 to 99.*=100"),
        (100, {"validation_size": 0}, "`validation_size` must be from 1 to 99.*=0"),
        (9, {}, "at least ten training images, .* Received: 9 training images"),
        (100, {"train_size": 91}, "`train_size` must be from 1 to 90.*train_size=91"),
        (100, {"train_size": 0}, "`train_size` must be from 1 to 80.*train_size=0"),
        (100, {"calibration_size": 9}, "must be 0, or from 10, one image per class, to 89.*=9"),
        (100, {"calibration_size": 90}, "`calibration_size` must be 0, or from 10.*=90"),
        (
            100,
            {"calibration_size": 20, "train_size": 71},
            "from 1 to 70, .* beside 10 for validation and 20 for calibration. Received: .*=71",
        ),
    ],
)
def test_split_sizes_refuses(available, given, message):
    with pytest.raises(InputError, match=message):
        split_sizes(available, **{**UNSET, **given})


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


def test_splits_are_seeded_and_do_not_depend_on_one_another():
    labels = np.arange(1_000) % 10
    unset = dict.fromkeys(("train_size", "validation_size", "calibration_size"))
    splits = split_training(labels, **unset, seed=0)
    assert {split: len(chosen) for split, chosen in splits.items()} == {
        **{"train": 800, "validation": 100, "calibration": 100}
    }
    assert len(np.unique(np.concatenate(list(splits.values())))) == 1_000
    again = split_training(labels, **unset, seed=0)
    for split, chosen in splits.items():
        np.testing.assert_array_equal(again[split], chosen)
    other = split_training(labels, **unset, seed=1)
    assert set(other["validation"]) != set(splits["validation"])
    few = split_training(labels, **{**unset, "train_size": 50}, seed=0)
    np.testing.assert_array_equal(few["validation"], splits["validation"])
    np.testing.assert_array_equal(np.bincount(labels[few["train"]]), [5] * 10)
    # The training images are the same whether and how many others are held out to calibrate.
    for calibration_size in (0, 40):
        sizes = {**unset, "train_size": 50, "calibration_size": calibration_size}
        fewer = split_training(labels, **sizes, seed=0)
        np.testing.assert_array_equal(fewer["train"], few["train"])
        assert len(fewer["calibration"]) == calibration_size
        assert not set(fewer["calibration"]) & {*fewer["train"], *fewer["validation"]}
