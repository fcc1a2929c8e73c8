"""Images in class folders on disk."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_adaptive.data.decoding import AS_SEEN, PICTURE_SUFFIXES, decode, ratio_check
from tf_adaptive.data.encoded_images import (
    DEFAULT_IMAGE_SIZE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    EncodedImages,
)
from tf_adaptive.data.image_dataset import ImageDataset
from tf_adaptive.data.splits import split_test, split_validation
from tf_adaptive.errors import InputError
from tf_adaptive.graph_errors import plain_reason

# Files that are named where many cannot be read.
_NAMED_FILES = 10


class FolderImages(EncodedImages):
    """One split of images in files.

    Args:
        paths: str array `(images,)`.
        labels: int array `(images,)`.
        image_size: height and width of the images in a batch.
        picture_reading: see `EncodedImages`.
    """

    def __init__(self, paths, labels, *, image_size, picture_reading=AS_SEEN):
        super().__init__(image_size=image_size, channels=3, picture_reading=picture_reading)
        self.paths = paths
        self.labels = labels

    def __len__(self):
        return len(self.paths)

    def _read_shuffled(self, order_seed, first):
        return self._read(np.random.default_rng(order_seed).permutation(len(self))[first:])

    def _read(self, indices):
        indices = np.asarray(indices, np.int64)
        files = tf.data.Dataset.from_tensor_slices((self.paths[indices], self.labels[indices]))
        return files.map(
            lambda path, label: (tf.io.read_file(path), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )


def load_folder(
    name, path, *, image_size, train_size, validation_size, seed, picture_reading=AS_SEEN
):
    """Colour images in class folders; the folders' names are the classes, in sorted order.

    Two layouts: `PATH/<class>/*.jpg`, of which a fifth is the test split, the same for every
    seed; or `PATH/train/<class>/*.jpg` with `PATH/test/<class>/*.jpg` (or, where there is no
    test folder, `PATH/val/<class>/*.jpg`, as ImageNet is published). The validation images are
    held out of the training images in both. Every file is decoded once, to find bad ones now.
    Files with other names than `tf_adaptive.data.decoding.PICTURE_SUFFIXES`, hidden ones, and
    folders in a class folder are left out.

    Raises:
        InputError: no such folder, a folder without images, fewer than two classes, other
            classes for the test than for training, or files that cannot be decoded.
    """
    folder = Path(path).expanduser()
    if not path or not folder.is_dir():
        raise InputError(f"`name` must be folder:PATH with a folder. Received: name={name!r}.")
    test_folders = [folder / part for part in ("test", "val") if (folder / part).is_dir()]
    has_test = (folder / "train").is_dir() and bool(test_folders)
    training_folder = folder / "train" if has_test else folder
    class_names = _class_names(training_folder)
    paths, labels = _list_images(training_folder, class_names)
    if has_test:
        if _class_names(test_folders[0]) != class_names:
            raise InputError(
                f"The test folder must have the classes of the training folder. "
                f"Received: {test_folders[0]} beside {training_folder}."
            )
        test_paths, test_labels = _list_images(test_folders[0], class_names)
    else:
        rest, test = split_test(labels)
        test_paths, test_labels = paths[test], labels[test]
        paths, labels = paths[rest], labels[rest]
    train, validation = split_validation(
        labels, train_size=train_size, validation_size=validation_size, seed=seed
    )
    _check_readable(np.concatenate([paths, test_paths]), picture_reading)

    def images(paths, labels):
        return FolderImages(
            paths,
            labels,
            image_size=image_size or DEFAULT_IMAGE_SIZE,
            picture_reading=picture_reading,
        )

    return ImageDataset(
        name=name,
        class_names=class_names,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        train=images(paths[train], labels[train]),
        validation=images(paths[validation], labels[validation]),
        test=images(test_paths, test_labels),
    )


def _class_names(folder):
    names = sorted(
        child.name for child in folder.iterdir() if child.is_dir() and child.name[0] != "."
    )
    if len(names) < 2:
        raise InputError(
            f"A folder data set must have at least two class folders. Received: {folder} "
            f"with {', '.join(names) or 'none'}."
        )
    return names


def _list_images(folder, class_names):
    """The image files of each class folder, sorted, and their labels."""
    paths, labels = [], []
    for label, class_name in enumerate(class_names):
        inside = [file for file in (folder / class_name).glob("*") if file.name[0] != "."]
        files = sorted(str(file) for file in inside if file.suffix.lower() in PICTURE_SUFFIXES)
        if not files:
            folders = sum(file.is_dir() for file in inside)
            others = f"{len(inside) - folders} other files and {folders} folders"
            raise InputError(
                f"A class folder must hold images ({', '.join(PICTURE_SUFFIXES)}). "
                f"Received: {folder / class_name} with none{f' but {others}' if inside else ''}."
            )
        paths += files
        labels += [label] * len(files)
    return np.array(paths), np.array(labels)


def _check_readable(paths, picture_reading):
    """Decodes every file and names those that fail."""

    def decode_file(path):
        image = decode(tf.io.read_file(path), channels=3, picture_reading=picture_reading)
        # What is not used would not be decoded.
        with tf.control_dependencies([ratio_check(image)]):
            return tf.shape(image)

    decoded = (
        tf.data.Dataset.from_tensor_slices(paths)
        .enumerate()
        .map(lambda index, path: (index, decode_file(path)), num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors()
    )
    unreadable = np.ones(len(paths), bool)
    unreadable[[int(index) for index, _ in decoded]] = False
    bad = paths[unreadable]
    if not len(bad):
        return
    decode_file = tf.function(
        decode_file, input_signature=[tf.TensorSpec((), tf.string)], autograph=False
    )
    if len(bad) == 1:
        raise InputError(
            f"An image file ({_reason(decode_file, bad[0])}) could not be decoded; mend or remove "
            f"it: {bad[0]}"
        )
    named = [f"{path} ({_reason(decode_file, path)})" for path in bad[:_NAMED_FILES]]
    more = f" and {len(bad) - len(named)} more" if len(bad) > len(named) else ""
    raise InputError(
        f"{len(bad)} image files could not be decoded; mend or remove them: "
        f"{', '.join(named)}{more}"
    )


def _reason(decode_file, path):
    """Why a file cannot be decoded, in words."""
    try:
        decode_file(tf.constant(path))
    except tf.errors.OpError as error:
        return plain_reason(error.message)
    return "it could not be read before"
