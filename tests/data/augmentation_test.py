import numpy as np
import tensorflow as tf

from tf_adaptive.data.augmentation import (
    random_resized_crop,
    random_shift_and_flip,
    resized_center_crop,
)

SEED = tf.constant([3, 5])


def shifted(image, down, right, flip):
    """What `random_shift_and_flip` says it does, with plain slices."""
    height, width, _ = image.shape
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
    crop = padded[4 + down : 4 + down + height, 4 + right : 4 + right + width]
    return crop[:, ::-1] if flip else crop


def test_every_shift_and_both_directions_occur_evenly():
    image = np.random.default_rng(0).integers(1, 256, (9, 11, 3), dtype=np.uint8)
    expected = {
        shifted(image, down, right, flip).tobytes(): (down, right, flip)
        for down in range(-4, 5)
        for right in range(-4, 5)
        for flip in (False, True)
    }
    batch = np.repeat(image[np.newaxis], 8_100, axis=0)
    augmented = random_shift_and_flip(batch, SEED, padding=4, flip=True)
    assert augmented.dtype == tf.uint8
    assert augmented.shape == batch.shape
    draws = np.array([expected[picture.tobytes()] for picture in augmented.numpy()])
    assert len(np.unique(draws, axis=0)) == 9 * 9 * 2
    # 900 draws of each offset and 4,050 flips are expected, give or take 28 and 45.
    for axis in (0, 1):
        counts = np.unique(draws[:, axis], return_counts=True)[1]
        assert counts.min() > 750 and counts.max() < 1_050
    assert 3_825 < draws[:, 2].sum() < 4_275


def test_without_flip_no_image_is_flipped():
    image = np.random.default_rng(0).integers(1, 256, (8, 8, 1), dtype=np.uint8)
    expected = {
        shifted(image, down, right, False).tobytes() for down in (-1, 0, 1) for right in (-1, 0, 1)
    }
    batch = np.repeat(image[np.newaxis], 300, axis=0)
    augmented = random_shift_and_flip(batch, SEED, padding=1, flip=False).numpy()
    assert {picture.tobytes() for picture in augmented} == expected


def test_the_seed_decides():
    batch = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), dtype=np.uint8)
    first = random_shift_and_flip(batch, SEED, padding=2, flip=True).numpy()
    again = random_shift_and_flip(batch, SEED, padding=2, flip=True).numpy()
    other = random_shift_and_flip(batch, tf.constant([3, 6]), padding=2, flip=True).numpy()
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_random_resized_crop_takes_8_to_100_percent_at_3_to_4_up_to_4_to_3():
    # Red is the column and green the row, so that a crop tells where it is from.
    rows, columns = np.mgrid[:240, :240].astype(np.uint8)
    image = np.stack([columns, rows, np.zeros_like(rows)], axis=-1)
    crops = np.stack(
        [random_resized_crop(image, tf.constant([1, draw]), size=32).numpy() for draw in range(300)]
    )
    assert crops.dtype == np.uint8
    assert crops.shape == (300, 32, 32, 3)
    red, green = crops[..., 0].astype(float), crops[..., 1].astype(float)
    # From the centre of the first output pixel to that of the last are 31 of 32 steps.
    widths = (red[:, 16, 30] - red[:, 16, 1]) * 32 / 29
    heights = (green[:, 30, 16] - green[:, 1, 16]) * 32 / 29
    areas, ratios = np.abs(widths) * heights / 240**2, np.abs(widths) / heights
    assert 0.07 < areas.min() < 0.15 and 0.85 < areas.max() < 1.03
    assert 0.72 < ratios.min() < 0.82 and 1.22 < ratios.max() < 1.39
    assert 115 < (widths < 0).sum() < 185


def test_resized_center_crop_keeps_the_middle():
    # 512 columns of 256 rows become 64 rows; 56 x 56 pixels of the middle stay.
    columns = np.tile(np.arange(512) // 2, (256, 1)).astype(np.uint8)[..., np.newaxis]
    picture = resized_center_crop(columns, size=56).numpy()
    assert picture.shape == (56, 56, 1)
    expected = np.arange(512).reshape(128, 4)[36 : 36 + 56].mean(axis=1) / 2
    np.testing.assert_allclose(picture[28, :, 0], expected, atol=1)


def test_resized_center_crop_enlarges_small_images_of_any_shape():
    for height, width in ((1, 1), (3, 50), (50, 3), (224, 225)):
        image = np.full((height, width, 3), 7, np.uint8)
        picture = resized_center_crop(image, size=24).numpy()
        np.testing.assert_array_equal(picture, np.full((24, 24, 3), 7))
