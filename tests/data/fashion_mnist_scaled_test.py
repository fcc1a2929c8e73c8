import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_adaptive.data import fashion_mnist, load_dataset
from tf_adaptive.data.fashion_mnist_scaled import place, scaled_dataset
from tf_adaptive.data.tfds_source import prepared_builder, read_arrays
from tf_adaptive.errors import InputError

needs_debian_files = pytest.mark.skipif(
    not fashion_mnist.has_debian_files(),
    reason="Debian's package dataset-fashion-mnist is not installed",
)


def white_squares(count):
    """Images that are all object; their label is their position modulo 10."""
    return np.full((count, 28, 28, 1), 255, np.uint8), np.arange(count) % 10


def load(training=None, *, image_size=40, **arguments):
    sizes = {"train_size": None, "validation_size": None, "seed": 0}
    return scaled_dataset(
        "squares",
        class_names=[str(number) for number in range(10)],
        training=training or white_squares(200),
        test=white_squares(300),
        image_size=image_size,
        **{**sizes, **arguments},
    )


def collect(batches):
    images, labels = zip(*((i.numpy(), n.numpy()) for i, n in batches), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def all_pictures(dataset, split):
    return np.stack(dataset.pictures(split, range(dataset.sizes[split])))[..., 0]


def placed(patch, scale, place_of_it, *, side):
    """What `place` gives for one patch, in numpy."""
    scales, places = tf.constant([[scale]]), tf.constant([[place_of_it]])
    return place(patch[np.newaxis, np.newaxis], scales, places, side=side).numpy()[0]


@pytest.mark.parametrize("scale, pixels", [(0.25, 20), (0.5, 40), (1.0, 80)])
def test_place_resizes_as_image_libraries_do(scale, pixels):
    patch = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    canvas = placed(patch, scale, [0.0, 1.0], side=80)
    resized = Image.fromarray(patch).resize((pixels, pixels), Image.Resampling.BILINEAR)
    # Pillow rounds after each of the two axes.
    np.testing.assert_allclose(canvas[:pixels, 80 - pixels :], np.asarray(resized), atol=1.1)
    outside = canvas.copy()
    outside[:pixels, 80 - pixels :] = 0
    assert not outside.any()


def test_place_adds_patches_up_where_they_belong():
    patches = np.random.default_rng(0).integers(0, 256, (2, 3, 10, 10), dtype=np.uint8)
    generator = np.random.default_rng(1)
    scales = generator.uniform(0.25, 1, (2, 3)).astype(np.float32)
    places = generator.uniform(size=(2, 3, 2)).astype(np.float32)
    canvases = place(patches, scales, places, side=50)
    assert canvases.shape == (2, 50, 50)
    for image in range(2):
        expected = sum(
            placed(patches[image, n], scales[image, n], places[image, n], side=50) for n in range(3)
        )
        np.testing.assert_allclose(canvases[image], expected, rtol=1e-4, atol=1e-2)


def test_each_object_has_its_scale_and_lies_inside():
    dataset = load()
    scales = dataset.object_scales("test")
    assert scales.dtype == np.float32 and scales.shape == (300,)
    assert scales.min() >= 0.25 and scales.max() <= 1
    # 75 are expected in each quarter of the range, give or take 7.5.
    counts = np.histogram(scales, bins=4, range=(0.25, 1))[0]
    assert counts.min() > 45 and counts.max() < 105
    bright = all_pictures(dataset, "test") > 180  # clutter and noise stay below
    for axis in (1, 2):
        extents = bright.any(axis=3 - axis).sum(axis=1)
        np.testing.assert_allclose(extents, scales * 40, atol=1.6)
    starts = bright.any(axis=2).argmax(axis=1) / np.maximum(40 - scales * 40, 1)
    assert np.ptp(starts[scales < 0.5]) > 0.8


def test_an_object_covers_the_clutter_and_nothing_else_is_as_bright():
    images, labels = white_squares(200)
    images[:100] = 0
    dataset = load((images, labels), train_size=100, validation_size=100)
    pictures = all_pictures(dataset, "train")
    for picture, scale in zip(pictures, dataset.object_scales("train"), strict=True):
        is_object = picture.max() > 180
        assert is_object == (np.sum(picture == 255) > 0)
        if is_object:
            assert np.sum(picture == 255) >= (scale * 40 - 3) ** 2
        assert picture.std() > 5


def test_images_do_not_depend_on_the_seed_or_on_the_sizes():
    first, second = load(), load(seed=1)
    np.testing.assert_array_equal(all_pictures(first, "test"), all_pictures(second, "test"))
    parts = [
        {
            picture.tobytes()
            for split in ("train", "validation")
            for picture in all_pictures(d, split)
        }
        for d in (first, second)
    ]
    # Where the object covers the whole canvas, images are alike.
    assert parts[0] == parts[1] and len(parts[0]) > 190
    few = load(train_size=30, validation_size=20)
    assert few.sizes == {"train": 30, "validation": 20, "calibration": 0, "test": 300}
    assert {picture.tobytes() for picture in all_pictures(few, "train")} < parts[0]


def test_batches_pictures_scales_and_labels_are_in_one_order():
    dataset = load()
    images, labels = collect(dataset.batches("validation", 7))
    pictures = np.stack(dataset.pictures("validation", range(20)))
    assert pictures.dtype == np.uint8 and pictures.shape == (20, 40, 40, 1)
    np.testing.assert_allclose(images, (pictures / 255 - dataset.mean) / dataset.std, atol=1e-5)
    widths = (pictures[..., 0] > 180).any(axis=1).sum(axis=1)
    np.testing.assert_allclose(widths, dataset.object_scales("validation") * 40, atol=1.6)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(np.bincount(labels), [2] * 10)
    assert dataset.pictures("validation", []) == []


def test_a_training_pass_holds_each_object_once_on_a_new_canvas():
    images, _ = white_squares(100)
    images = (images * np.linspace(0.5, 1, 100)[:, None, None, None]).astype(np.uint8)
    brightness = images[:, 0, 0, 0]
    training = images, brightness.astype(int)
    dataset = load(training, train_size=90, validation_size=10)

    def training_pass(epoch):
        batches, labels = collect(dataset.training_batches(32, epoch=epoch, seed=3))
        return np.rint((batches * dataset.std[0] + dataset.mean[0]) * 255), labels

    pictures, labels = training_pass(0)
    _, ordered = collect(dataset.batches("train", 32))
    assert (labels != ordered).any()
    np.testing.assert_array_equal(np.sort(labels), np.sort(ordered))
    # The objects have one brightness each, and are brighter than most of what is around them.
    hits = [np.sum(np.abs(p - n) < 1) > 60 for p, n in zip(pictures, labels, strict=True)]
    assert np.mean(hits) > 0.95
    unaugmented = all_pictures(dataset, "train").astype(float)
    fixed = {picture.tobytes() for picture in unaugmented}
    assert sum(p[..., 0].astype(float).tobytes() in fixed for p in pictures) < 5
    again, same_labels = training_pass(0)
    np.testing.assert_array_equal(again, pictures)
    np.testing.assert_array_equal(same_labels, labels)
    other, other_labels = training_pass(1)
    assert (other_labels != labels).any() and (other != pictures).any()


@pytest.mark.parametrize("first_batch", [1, 5, 6])
def test_a_pass_goes_on_from_any_batch(first_batch):
    dataset = load(train_size=90, validation_size=10)
    whole = list(dataset.training_batches(16, epoch=1, seed=0))
    rest = list(dataset.training_batches(16, epoch=1, seed=0, first_batch=first_batch))
    assert len(whole) == 6 and len(rest) == 6 - first_batch
    for (images, labels), (others, other_labels) in zip(rest, whole[first_batch:], strict=True):
        np.testing.assert_array_equal(images, others)
        np.testing.assert_array_equal(labels, other_labels)


def test_other_data_sets_know_no_scales():
    dataset = load_dataset("digits")
    assert dataset.object_scales("test") is None
    with pytest.raises(InputError, match="`split` must be one of.*Did you mean 'test'"):
        dataset.object_scales("tests")


def test_a_canvas_smaller_than_the_images_is_refused():
    with pytest.raises(InputError, match="`image_size` must be a whole number from 28 on.*=27"):
        load_dataset("fashion_mnist_scaled", image_size=27)


@needs_debian_files
def test_fashion_mnist_scaled():
    dataset = load_dataset("fashion_mnist_scaled", train_size=2_000, validation_size=500)
    assert dataset.name == "fashion_mnist_scaled"
    assert dataset.sizes == {
        "train": 2_000,
        "validation": 500,
        "calibration": 5_000,
        "test": 10_000,
    }
    assert dataset.image_shape == (96, 96, 1)
    assert dataset.class_names[:2] == ("T-shirt/top", "Trouser")
    images, _ = collect(dataset.batches("train", 500))
    # Normalised with the statistics of all 60,000 training images.
    assert abs(images.mean()) < 0.02
    assert abs(images.std() - 1) < 0.02

    originals, labels = read_arrays(prepared_builder("fashion_mnist", None), "test")
    _, found = collect(dataset.batches("test", 500).take(2))
    np.testing.assert_array_equal(found, labels[:1_000])
    large = np.flatnonzero(dataset.object_scales("test") > 0.98)[:20]
    # Of their originals, each large object is most like its own.
    objects = originals[large].reshape(20, -1)
    for number, picture in enumerate(dataset.pictures("test", large)):
        small = np.asarray(Image.fromarray(picture[..., 0]).resize((28, 28)))
        likeness = np.corrcoef(small.ravel(), objects)[0, 1:]
        assert likeness.argmax() == number


def test_sizes_that_cannot_be_had():
    with pytest.raises(InputError, match="`train_size` must be from 1 to 150.*train_size=151"):
        load(train_size=151, validation_size=50)
    with pytest.raises(InputError, match="`validation_size` must be from 1 to 199"):
        load(validation_size=200)
