"""Image-classification sets of TensorFlow Datasets (TFDS)."""

import difflib
import tempfile
import warnings

import numpy as np
import tensorflow as tf

from tf_adaptive.data import fashion_mnist
from tf_adaptive.data.array_images import array_dataset
from tf_adaptive.data.augmentation import resize
from tf_adaptive.data.encoded_images import (
    DEFAULT_IMAGE_SIZE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    EncodedImages,
)
from tf_adaptive.data.image_dataset import ImageDataset
from tf_adaptive.data.splits import split_sizes, split_test
from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.extras import lazily
from tf_adaptive.pictures import AS_SEEN

tfds = lazily("tensorflow_datasets", extra="data")
download_manager = lazily("tensorflow_datasets.core.download.download_manager", extra="data")

_USUAL_NAMES = (
    "digits",
    "fashion_mnist",
    "fashion_mnist_scaled",
    "cifar10",
    "cifar100",
    "imagenet2012",
    "folder:PATH",
)

# Mean and standard deviation per channel that the published experiments used.
_PUBLISHED_STATISTICS = {
    "cifar10": ((0.4914, 0.4824, 0.4467), (0.2471, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}

# Digits and letters, which mean something else or nothing when flipped.
_NEVER_FLIPPED = ("binarized_mnist", "emnist", "kmnist", "mnist", "omniglot", "svhn_cropped")

_MEMORY_LIMIT = 10**9  # bytes of decoded images

_SHUFFLE_BUFFER = 8_192  # encoded images

# What a set is tested on, the first that it has with labels.
_EVALUATION_SPLITS = ("test", "validation")

_LABELS_LOOKED_AT = 100


class TfdsImages(EncodedImages):
    """One split that is read from TFDS's files as it is needed.

    Shuffling mixes the order of the files with a buffer of 8,192 images; TFDS has shuffled
    the images across files when it prepared them.

    Args:
        builder: a prepared `tfds.core.DatasetBuilder`.
        split: what to read, in TFDS's words, as "train[:-50000]".
        size: number of images in it.
        image_size: height and width of the images in a batch.
        picture_reading: see `EncodedImages`.
    """

    def __init__(self, builder, split, *, size, image_size, picture_reading=AS_SEEN):
        channels = builder.info.features["image"].shape[-1]
        super().__init__(image_size=image_size, channels=channels, picture_reading=picture_reading)
        self.builder = builder
        self.split = split
        self.size = size

    def __len__(self):
        return self.size

    def _read_shuffled(self, order_seed, positions):
        # Left out before decoding, which is nearly all of the work.
        return _only(
            self._examples(shuffle_files=True, order_seed=order_seed).shuffle(
                _SHUFFLE_BUFFER, seed=order_seed, reshuffle_each_iteration=False
            ),
            positions,
        )

    def _read(self, indices):
        return _only(self._examples(shuffle_files=False, order_seed=None), indices)

    def _examples(self, *, shuffle_files, order_seed):
        options = tf.data.Options()
        options.deterministic = True
        examples = self.builder.as_dataset(
            split=self.split,
            shuffle_files=shuffle_files,
            decoders=tfds.decode.PartialDecoding(
                {"image": True, "label": True}, decoders={"image": tfds.decode.SkipDecoding()}
            ),
            read_config=tfds.ReadConfig(
                options=options,
                shuffle_seed=order_seed,
                shuffle_reshuffle_each_iteration=False,
                try_autocache=False,
            ),
        )
        return examples.map(lambda example: (example["image"], example["label"]))


def _only(examples, positions):
    """Those at ascending positions of a `tf.data.Dataset`."""
    positions = np.asarray(positions, np.int64)
    if not len(positions):
        return examples.take(0)
    first, last = positions[0], positions[-1]
    between = examples.skip(first).take(last - first + 1)
    if len(positions) == last - first + 1:
        return between
    wanted = np.zeros(last - first + 1, bool)
    wanted[positions - first] = True
    return (
        between.enumerate()
        .filter(lambda place, _: tf.gather(wanted, place))
        .map(lambda _, example: example)
    )


def load_tfds(
    name,
    *,
    image_size,
    train_size,
    validation_size,
    calibration_size,
    data_dir,
    seed,
    evaluation_split=None,
    picture_reading=AS_SEEN,
):
    """A TFDS set with the features "image" and "label".

    Small sets of images of one size are held in memory; the others are read as they are
    needed. A set without a test split, or with one whose labels are kept back, is tested on its
    validation split, as ImageNet is by all, or on a fifth of its training images where it has
    neither.

    Raises:
        InputError: a name that TFDS lacks, a set of another kind, data that are neither
            prepared nor can be, or an `evaluation_split` that it lacks or that has no labels.
    """
    builder = prepared_builder(name, data_dir)
    splits = builder.info.splits
    if "train" not in splits:
        raise InputError(
            f"`dataset` must be a data set with a train split. Received: dataset={name!r} "
            f"with {', '.join(splits)}."
        )
    test_split = _test_split(name, builder, evaluation_split)
    shape = builder.info.features["image"].shape
    count = splits["train"].num_examples + (splits[test_split].num_examples if test_split else 0)
    if None not in shape and count * np.prod(shape, dtype=np.int64) <= _MEMORY_LIMIT:
        training = _read_resized(builder, "train", image_size)
        if test_split:
            test = _read_resized(builder, test_split, image_size)
        else:
            images, labels = training
            rest, held_out = split_test(labels)
            training, test = (images[rest], labels[rest]), (images[held_out], labels[held_out])
        mean, std = _PUBLISHED_STATISTICS.get(builder.name, (None, None))
        return array_dataset(
            name,
            class_names=builder.info.features["label"].names,
            training=training,
            test=test,
            train_size=train_size,
            validation_size=validation_size,
            calibration_size=calibration_size,
            seed=seed,
            flip=builder.name not in _NEVER_FLIPPED,
            mean=mean,
            std=std,
        )
    return _streamed_dataset(
        name,
        builder,
        test_split=test_split,
        image_size=image_size or DEFAULT_IMAGE_SIZE,
        train_size=train_size,
        validation_size=validation_size,
        calibration_size=calibration_size,
        picture_reading=picture_reading,
    )


def _test_split(name, builder, wanted):
    """The split to test on, `wanted` where that is given; None where the set has none."""
    splits = builder.info.splits
    if wanted is None:
        held = [split for split in _EVALUATION_SPLITS if split in splits]
        chosen = next((split for split in held if _labelled(builder, split)), None)
        if held and chosen != held[0]:
            warnings.warn(
                f"{name}: tested on {chosen or 'a fifth of train'}, as {held[0]} has no labels",
                stacklevel=2,
            )
        return chosen
    check_choice("evaluation_split", wanted, [split for split in splits if split != "train"])
    if not _labelled(builder, wanted):
        raise InputError(
            "`evaluation_split` must be a split with labels. Received: "
            f"evaluation_split={wanted!r} of {name!r}, whose labels are kept back."
        )
    return wanted


def _labelled(builder, split):
    """Whether a split's labels are there; TFDS has -1 for those that are kept back."""
    examples = builder.as_dataset(
        split=split,
        decoders=tfds.decode.PartialDecoding({"label": True}),
        read_config=tfds.ReadConfig(try_autocache=False),
    )
    labels = [int(example["label"]) for example in examples.take(_LABELS_LOOKED_AT)]
    return min(labels, default=-1) >= 0


def _streamed_dataset(
    name,
    builder,
    *,
    test_split,
    image_size,
    train_size,
    validation_size,
    calibration_size,
    picture_reading,
):
    def images(split, size):
        return TfdsImages(
            builder, split, size=size, image_size=image_size, picture_reading=picture_reading
        )

    splits = builder.info.splits
    available = splits["train"].num_examples
    if test_split:
        test = images(test_split, splits[test_split].num_examples)
    else:
        test_size = available // 5
        available -= test_size
        test = images(f"train[{available}:]", test_size)
    train_size, validation_size, calibration_size = split_sizes(
        available,
        train_size=train_size,
        validation_size=validation_size,
        calibration_size=calibration_size,
        num_classes=builder.info.features["label"].num_classes,
        default_validation_size=50_000 if builder.name == "imagenet2012" else 5_000,
    )
    validation_from = available - validation_size
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if builder.info.features["image"].shape[-1] == 1:
        mean, std = [np.mean(mean)], [np.mean(std)]
    return ImageDataset(
        name=name,
        class_names=builder.info.features["label"].names,
        mean=mean,
        std=std,
        train=images(f"train[:{train_size}]", train_size),
        validation=images(f"train[{validation_from}:{available}]", validation_size),
        calibration=images(
            f"train[{validation_from - calibration_size}:{validation_from}]", calibration_size
        ),
        test=test,
    )


def prepared_builder(name, data_dir):
    """The `tfds.core.DatasetBuilder` of a set whose files are ready to read.

    Raises:
        InputError: see `load_tfds`.
    """
    builder = _builder(name, data_dir)
    _check_features(name, builder.info.features)
    _prepare(name, builder)
    return builder


def read_arrays(builder, split):
    """All images and labels of a split: uint8 `(images, height, width, channels)`, int64."""
    loaded = builder.as_dataset(
        split=split,
        batch_size=-1,
        decoders=tfds.decode.PartialDecoding({"image": True, "label": True}),
    )
    return loaded["image"].numpy(), loaded["label"].numpy()


def _builder(name, data_dir):
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        # TFDS has many look-alikes, as cifar10_1: the names that are asked for most go first.
        every_name = tfds.list_builders(with_community_datasets=False)
        nearest = difflib.get_close_matches(name, _USUAL_NAMES, n=1)
        nearest = nearest or difflib.get_close_matches(name, every_name, n=1, cutoff=0.4)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise InputError(
            f"`dataset` must be {', '.join(_USUAL_NAMES)} or another image-classification set of "
            f"TFDS. Received: dataset={name!r}.{hint}"
        ) from None
    except (ValueError, AssertionError, ImportError) as error:
        raise InputError(
            f"`dataset` must be a data set that TFDS can load. Received: dataset={name!r}. "
            f"{_one_line(error)}."
        ) from error


def _check_features(name, features):
    features = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    image, label = features.get("image"), features.get("label")
    if (
        not isinstance(image, tfds.features.Image)
        or not isinstance(label, tfds.features.ClassLabel)
        or image.np_dtype != np.uint8
        or image.shape[-1] not in (1, 3)
    ):
        raise InputError(
            "`dataset` must be a data set with the features `image` (grey or colour, 8 bits) and "
            f"`label` (a class). Received: dataset={name!r} with {', '.join(features) or 'others'}."
        )


def _prepare(name, builder):
    """Downloads and prepares, or only prepares where the files are on this machine."""
    try:
        if builder.name == "fashion_mnist" and fashion_mnist.has_debian_files():
            with tempfile.TemporaryDirectory() as folder:
                fashion_mnist.write_published_files(folder)
                config = tfds.download.DownloadConfig(manual_dir=folder)
                builder.download_and_prepare(download_config=config)
        else:
            builder.download_and_prepare()
    # The assertion: files are missing that TFDS asks the user to download by hand.
    except (
        OSError,
        AssertionError,
        ImportError,
        download_manager.NonMatchingChecksumError,
        tfds.download.DownloadError,
    ) as error:
        advice = "Give the `data_dir` where it is prepared, or mend what failed"
        if builder.name == "fashion_mnist":
            advice = "Install Debian's package dataset-fashion-mnist, or give the `data_dir`"
        raise InputError(
            f"`{name}` is not prepared and could not be prepared. {advice}: {_one_line(error)}."
        ) from error


def _read_resized(builder, split, image_size):
    """`read_arrays`, resized where another `image_size` than the images' own is asked for."""
    images, labels = read_arrays(builder, split)
    if image_size is not None and images.shape[1:3] != (image_size, image_size):
        images = resize(images, (image_size, image_size)).numpy()
    return images, labels


def _one_line(error):
    return " ".join(str(error).split()).rstrip(".")
