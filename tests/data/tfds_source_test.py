import functools
import json

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds

from tests.parts import assert_parts_are_the_whole
from tf_adaptive.data import fashion_mnist, load_dataset, tfds_source
from tf_adaptive.errors import InputError
from tf_adaptive.runs.dataset import load_run_dataset


class Shapes(tfds.core.GeneratorBasedBuilder):
    """Pictures of four sizes whose colour tells their number, in several files."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name)
        for name in ("tested", "validated", "train_only", "kept_back", "kept_back_only")
    ]

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=["even", "odd"]),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        splits = {"train": self._generate_examples(0, 120)}
        if self.builder_config.name == "tested":
            splits["test"] = self._generate_examples(120, 140)
        if self.builder_config.name.startswith("kept_back"):
            splits["test"] = self._generate_examples(120, 140, has_labels=False)
        if self.builder_config.name in ("tested", "validated", "kept_back"):
            splits["validation"] = self._generate_examples(140, 150)
        return splits

    def _generate_examples(self, begin, end, *, has_labels=True):
        for number in range(begin, end):
            image = np.full((8 + number % 4, 10, 3), number, np.uint8)
            yield number, {"image": image, "label": number % 2 if has_labels else -1}


@pytest.fixture(scope="module")
def shapes_dir(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("shapes")
    for config in Shapes.BUILDER_CONFIGS:
        builder = Shapes(data_dir=data_dir, config=config.name)
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=5))
    return data_dir


@pytest.fixture
def load_shapes(shapes_dir):
    def load(config, **arguments):
        return load_dataset(f"shapes/{config}", data_dir=shapes_dir, image_size=6, **arguments)

    return load


@pytest.fixture
def mocked(tmp_path):
    """Random images in place of a TFDS set whose splits have these sizes."""

    def mock(name, *, version, images=40, **split_sizes):
        folder = tmp_path / name / version
        folder.mkdir(parents=True)
        splits = [
            {
                "name": split,
                "shardLengths": [str(size)],
                "numBytes": "1000",
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
            for split, size in split_sizes.items()
        ]
        description = {"name": name, "version": version, "fileFormat": "tfrecord"}
        (folder / "dataset_info.json").write_text(json.dumps({**description, "splits": splits}))
        return tfds.testing.mock_data(num_examples=images, data_dir=str(tmp_path))

    return mock


def numbers(dataset, batches):
    """The number of each image, from its colour, and a check of its label."""
    found = []
    for images, labels in batches:
        pixels = (images.numpy() * dataset.std + dataset.mean) * 255
        batch = np.rint(pixels[:, 3, 3, 0]).astype(int)
        np.testing.assert_array_equal(labels.numpy(), batch % 2)
        found.append(batch)
    return found


@pytest.mark.parametrize(
    "config, sizes",
    [
        ("tested", {"train": 96, "validation": 12, "calibration": 12, "test": 20}),
        ("validated", {"train": 96, "validation": 12, "calibration": 12, "test": 10}),
        ("train_only", {"train": 78, "validation": 9, "calibration": 9, "test": 24}),
    ],
)
def test_streamed_splits_hold_each_image_once(load_shapes, config, sizes):
    dataset = load_shapes(config)
    assert dataset.sizes == sizes
    assert dataset.class_names == ("even", "odd")
    assert dataset.image_shape == (6, 6, 3)
    assert dataset.mean == (0.485, 0.456, 0.406) and dataset.std == (0.229, 0.224, 0.225)
    found = {split: np.concatenate(numbers(dataset, dataset.batches(split, 7))) for split in sizes}
    assert {split: len(images) for split, images in found.items()} == sizes
    held = np.concatenate([found[split] for split in ("train", "validation", "calibration")])
    if config == "train_only":
        held = np.concatenate([held, found["test"]])
    np.testing.assert_array_equal(np.sort(held), np.arange(120))
    if config != "train_only":
        first = {"tested": 120, "validated": 140}[config]
        np.testing.assert_array_equal(np.sort(found["test"]), first + np.arange(sizes["test"]))


def test_a_test_split_without_labels_is_not_the_test_data(load_shapes):
    with pytest.warns(UserWarning, match="tested on validation, as test has no labels"):
        dataset = load_shapes("kept_back")
    assert dataset.sizes == {"train": 96, "validation": 12, "calibration": 12, "test": 10}
    found = np.concatenate(numbers(dataset, dataset.batches("test", 7)))
    np.testing.assert_array_equal(np.sort(found), 140 + np.arange(10))
    with pytest.warns(UserWarning, match="tested on a fifth of train"):
        dataset = load_shapes("kept_back_only")
    assert dataset.sizes == {"train": 78, "validation": 9, "calibration": 9, "test": 24}
    with pytest.raises(InputError, match="a split with labels.*'test' of 'shapes/kept_back'"):
        load_shapes("kept_back", evaluation_split="test")


def test_images_in_memory_are_tested_on_a_split_with_labels(load_shapes, monkeypatch):
    looked_at = []

    def read_arrays(builder, split):
        looked_at.append(split)
        size = builder.info.splits[split].num_examples
        return np.zeros((size, 6, 6, 3), np.uint8), np.arange(size) % 2

    monkeypatch.setattr(tfds_source, "read_arrays", read_arrays)
    monkeypatch.setattr(tfds.features.Image, "shape", (6, 6, 3))
    assert load_shapes("kept_back", evaluation_split="validation").sizes["test"] == 10
    assert looked_at == ["train", "validation"]


def test_the_evaluation_split_can_be_chosen(load_shapes, shapes_dir):
    assert load_shapes("tested").sizes["test"] == 20
    assert load_shapes("tested", evaluation_split="validation").sizes["test"] == 10
    settings = {"dataset": "shapes/tested", "data_dir": str(shapes_dir), "image_size": 6}
    settings |= {"train_size": None, "validation_size": None}
    assert load_run_dataset(settings).sizes["test"] == 20
    assert load_run_dataset(settings | {"evaluation_split": "validation"}).sizes["test"] == 10
    for split in ("train", "testing"):
        with pytest.raises(InputError, match="`evaluation_split` must be one of test, validation"):
            load_shapes("tested", evaluation_split=split)
    with pytest.raises(InputError, match="`evaluation_split` must be left out.*'digits'"):
        load_dataset("digits", evaluation_split="test")


def test_a_streamed_pass_is_shuffled_repeats_and_goes_on_from_any_batch(load_shapes):
    dataset = load_shapes("tested", calibration_size=0)

    def collect(**arguments):
        batches = dataset.training_batches(16, seed=3, **arguments)
        return [(images.numpy(), labels.numpy()) for images, labels in batches]

    whole = collect(epoch=1)
    assert [len(labels) for _, labels in whole] == [16] * 6 + [12]
    in_order = np.concatenate(numbers(dataset, dataset.batches("train", 16)))
    shuffled = np.concatenate(numbers(dataset, dataset.training_batches(16, epoch=1, seed=3)))
    assert (shuffled != in_order).any()
    np.testing.assert_array_equal(np.sort(shuffled), np.sort(in_order))
    for first_batch in (0, 1, 5, 7):
        rest = collect(epoch=1, first_batch=first_batch)
        assert len(rest) == 7 - first_batch
        for (images, labels), (others, other_labels) in zip(rest, whole[first_batch:], strict=True):
            np.testing.assert_array_equal(images, others)
            np.testing.assert_array_equal(labels, other_labels)
    assert (collect(epoch=2)[0][1] != whole[0][1]).any()
    training = functools.partial(dataset.training_batches, 16, epoch=1, seed=3, first_batch=1)
    for batches_of in (training, functools.partial(dataset.batches, "test", 16)):
        assert_parts_are_the_whole(batches_of, parts=4)


def test_streamed_sizes_and_pictures(load_shapes):
    dataset = load_shapes("tested", train_size=10, validation_size=20)
    assert dataset.sizes == {"train": 10, "validation": 20, "calibration": 12, "test": 20}
    in_order = np.concatenate(numbers(dataset, dataset.batches("validation", 8)))
    pictures = dataset.pictures("validation", [11, 2, 11])
    assert [picture.shape for picture in pictures] == [(6, 6, 3)] * 3
    assert [picture[0, 0, 0] for picture in pictures] == in_order[[11, 2, 11]].tolist()
    with pytest.raises(InputError, match="`train_size` must be from 1 to 108"):
        load_shapes("tested", train_size=109)


@pytest.mark.parametrize(
    "name, version, mean, std",
    [
        ("cifar10", "3.0.2", (0.4914, 0.4824, 0.4467), (0.2471, 0.2435, 0.2616)),
        ("cifar100", "3.0.2", (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    ],
)
def test_cifar(mocked, name, version, mean, std):
    with mocked(name, version=version, train=50_000, test=10_000):
        dataset = load_dataset(name)
    assert dataset.num_classes == int(name.removeprefix("cifar"))
    assert dataset.image_shape == (32, 32, 3)
    assert (dataset.mean, dataset.std) == (mean, std)
    assert dataset.sizes == {"train": 36, "validation": 4, "calibration": 0, "test": 40}
    images, labels = next(iter(dataset.training_batches(16, epoch=0, seed=0)))
    assert images.shape == (16, 32, 32, 3) and labels.shape == (16,)
    ((images, _),) = dataset.batches("validation", 8)
    pictures = np.stack(dataset.pictures("validation", range(4)))
    np.testing.assert_allclose(images, (pictures / 255 - mean) / std, atol=1e-5)


def test_images_in_memory_can_be_resized(mocked):
    with mocked("cifar10", version="3.0.2", train=50_000, test=10_000):
        dataset = load_dataset("cifar10", image_size=16)
    assert dataset.image_shape == (16, 16, 3)


def test_imagenet(mocked):
    with mocked("imagenet2012", version="5.1.0", train=1_281_167, validation=50_000):
        dataset = load_dataset("imagenet2012")
        assert dataset.num_classes == 1_000
        assert dataset.image_shape == (224, 224, 3)
        assert dataset.sizes == {
            "train": 1_181_167,
            "validation": 50_000,
            "calibration": 50_000,
            "test": 50_000,
        }
        images, labels = next(iter(dataset.training_batches(4, epoch=0, seed=0)))
        assert images.shape == (4, 224, 224, 3) and labels.shape == (4,)
        images, labels = next(iter(dataset.batches("test", 3)))
        assert images.shape == (3, 224, 224, 3) and labels.shape == (3,)


def test_mnist_is_never_flipped(mocked):
    with mocked("mnist", version="3.0.1", train=60_000, test=10_000):
        dataset = load_dataset("mnist")
    batches = dataset.training_batches(36, epoch=0, seed=0)
    images = next(iter(batches))[0].numpy()
    pictures = np.concatenate([images.numpy() for images, _ in dataset.batches("train", 36)])
    inner = {picture[6:-6, 6:-6].tobytes() for picture in pictures}
    shifts = [
        {image[6 + down : 22 + down, 6 + right : 22 + right].tobytes() for image in images}
        for down in range(-4, 5)
        for right in range(-4, 5)
    ]
    assert inner <= set().union(*shifts)


@pytest.mark.parametrize(
    "name, nearest",
    [
        ("cifar11", "cifar10"),
        ("digit", "digits"),
        ("fashionmnist", "fashion_mnist"),
        ("oxford_flowers", "oxford_flowers102"),
    ],
)
def test_unknown_name(tmp_path, name, nearest):
    with pytest.raises(InputError, match=rf"dataset='{name}'\. Did you mean '{nearest}'\?"):
        load_dataset(name, data_dir=tmp_path)


@pytest.mark.parametrize("name", ["", "a b", "cifar10:9.9.9", "imagenet_resized/3x3"])
def test_names_that_tfds_cannot_load(tmp_path, name):
    with pytest.raises(InputError, match=f"must be a data set that TFDS can load.*'{name}'"):
        load_dataset(name, data_dir=tmp_path)


@pytest.mark.parametrize("name", ["coco", "imdb_reviews", "smallnorb"])
def test_sets_that_are_no_image_classification(tmp_path, name):
    with pytest.raises(InputError, match=f"with the features `image`.*{name}"):
        load_dataset(name, data_dir=tmp_path)


def test_a_set_without_training_images(mocked):
    with (
        mocked("cifar10", version="3.0.2", test=10_000),
        pytest.raises(InputError, match="with a train split.*'cifar10' with test"),
    ):
        load_dataset("cifar10")


def test_images_that_must_be_downloaded_by_hand(tmp_path):
    with pytest.raises(InputError, match="`imagenet2012` is not prepared.*ILSVRC2012") as error:
        load_dataset("imagenet2012", data_dir=tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, advice",
    [("cifar10", "Give the `data_dir`"), ("fashion_mnist", "Debian's package")],
)
def test_no_network(tmp_path, monkeypatch, name, advice):
    def fail(*arguments, **keywords):
        raise requests.ConnectionError("Name or service not known")

    monkeypatch.setattr(requests.Session, "request", fail)
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path)
    with pytest.raises(InputError, match=f"`{name}` is not prepared.*{advice}.*not known"):
        load_dataset(name, data_dir=tmp_path)


def test_small_sets_only_are_held_in_memory(mocked, monkeypatch):
    monkeypatch.setattr(tfds_source, "_MEMORY_LIMIT", 60_000 * 32 * 32 * 3 - 1)
    with mocked("cifar10", version="3.0.2", train=50_000, test=10_000):
        assert load_dataset("cifar10").image_shape == (224, 224, 3)
