"""Images in class folders on disk."""

import collections
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_adaptive.data.checked_files import CheckedFiles, cache_folder
from tf_adaptive.data.decoding import decode, ratio_check
from tf_adaptive.data.encoded_images import (
    DEFAULT_IMAGE_SIZE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    EncodedImages,
)
from tf_adaptive.data.image_dataset import ImageDataset
from tf_adaptive.data.splits import split_test, split_training
from tf_adaptive.errors import InputError, plain_reason
from tf_adaptive.files import replaced_whole
from tf_adaptive.pictures import AS_SEEN, PICTURE_SUFFIXES

# Where test images are looked for, the first that is there.
_TEST_FOLDERS = ("test", "val", "valid", "validation")

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

    def _read_shuffled(self, order_seed, positions):
        return self._read(np.random.default_rng(order_seed).permutation(len(self))[positions])

    def _read(self, indices):
        indices = np.asarray(indices, np.int64)
        files = tf.data.Dataset.from_tensor_slices((self.paths[indices], self.labels[indices]))
        return files.map(
            lambda path, label: (tf.io.read_file(path), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )


def load_folder(
    name,
    path,
    *,
    image_size,
    train_size,
    validation_size,
    calibration_size,
    seed,
    picture_reading=AS_SEEN,
):
    """Colour images in class folders; the folders' names are the classes, in sorted order.

    Two layouts: `PATH/<class>/*.jpg`, or `PATH/train/<class>/*.jpg` with a folder of test images
    beside it: `test`, or, where there is no such folder, `val`, `valid` or `validation`, as
    ImageNet is published. Where there is none, a fifth of the images is the test split, the same
    for every seed. Those of validation and calibration are held out of the training images in all
    cases. Every file is decoded once, to find bad ones now; later starts decode those that are new
    or were written since (`tf_adaptive.data.checked_files`). Files with other names than
    `tf_adaptive.pictures.PICTURE_SUFFIXES` and folders in a class folder are left out, with
    a warning that counts them; hidden ones without.

    Raises:
        InputError: no such folder, a folder without images, fewer than two classes, other
            classes for the test than for training, or files that cannot be decoded.
    """
    folder = Path(path).expanduser()
    if not path or not folder.is_dir():
        raise InputError(
            f"`dataset` must be folder:PATH with a folder. Received: dataset={name!r}."
        )
    training_folder, test_folder = _split_folders(folder)
    class_names = _class_names(training_folder)
    left_out = collections.Counter()
    paths, labels = _list_images(training_folder, class_names, left_out)
    if test_folder is not None:
        if _class_names(test_folder) != class_names:
            raise InputError(
                f"The test folder must have the classes of the training folder. "
                f"Received: {test_folder} beside {training_folder}."
            )
        test_paths, test_labels = _list_images(test_folder, class_names, left_out)
    else:
        rest, test = split_test(labels)
        test_paths, test_labels = paths[test], labels[test]
        paths, labels = paths[rest], labels[rest]
    if left_out:
        warnings.warn(f"{name}: left out of its class folders: {_in_words(left_out)}", stacklevel=3)
    positions = split_training(
        labels,
        train_size=train_size,
        validation_size=validation_size,
        calibration_size=calibration_size,
        seed=seed,
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
        **{split: images(paths[chosen], labels[chosen]) for split, chosen in positions.items()},
        test=images(test_paths, test_labels),
    )


def _split_folders(folder):
    """The folders of the training and of the test classes; None for no folder of the latter."""
    inside = _folders_in(folder)
    tests = [name for name in _TEST_FOLDERS if name in inside]
    others = [name for name in inside if name not in ("train", *tests)]
    # A class may have such a name too, but then there are images in its folder, and no classes.
    if "train" not in inside or not _folders_in(folder / "train"):
        if tests and not others and all(_folders_in(folder / name) for name in tests):
            raise InputError(
                f"A folder data set with {' and '.join(tests)} must have a folder train beside "
                f"them. Received: {folder}."
            )
        return folder, None
    if not tests:
        return (folder, None) if others else (folder / "train", None)
    unused = [*tests[1:], *others]
    if unused:
        warnings.warn(
            f"{folder}: trained on train and tested on {tests[0]}, validation images are held out "
            f"of train; not used: {', '.join(unused)}",
            stacklevel=4,
        )
    return folder / "train", folder / tests[0]


def _folders_in(folder):
    return sorted(
        child.name for child in folder.iterdir() if child.is_dir() and child.name[0] != "."
    )


def _class_names(folder):
    names = _folders_in(folder)
    if len(names) < 2:
        raise InputError(
            f"A folder data set must have at least two class folders. Received: {folder} "
            f"with {', '.join(names) or 'none'}."
        )
    return names


def _list_images(folder, class_names, left_out):
    """The image files of each class folder, sorted, and their labels; the others are counted."""
    paths, labels = [], []
    for label, class_name in enumerate(class_names):
        inside = [file for file in (folder / class_name).glob("*") if file.name[0] != "."]
        kinds = {file: _kind_left_out(file) for file in inside}
        files = sorted(str(file) for file, kind in kinds.items() if kind is None)
        others = collections.Counter(kind for kind in kinds.values() if kind is not None)
        if not files:
            but = f" but {_in_words(others)}" if others else ""
            raise InputError(
                f"A class folder must hold images ({', '.join(PICTURE_SUFFIXES)}). "
                f"Received: {folder / class_name} with none{but}."
            )
        left_out.update(others)
        paths += files
        labels += [label] * len(files)
    return np.array(paths), np.array(labels)


def _in_words(kinds):
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))


def _kind_left_out(file):
    """What a file or folder in a class folder is that is no image; None for an image."""
    if file.is_dir():
        return "folder(s)"
    suffix = file.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return None
    return f"{suffix} file(s)" if suffix else "file(s) without a suffix"


def _check_readable(paths, picture_reading):
    """Decodes every file that was not decoded before, and names those that fail."""
    files = CheckedFiles(paths, picture_reading)
    unchecked = files.unchecked()
    if not unchecked.any():
        return

    def decode_file(path):
        image = decode(tf.io.read_file(path), channels=3, picture_reading=picture_reading)
        # What is not used would not be decoded.
        with tf.control_dependencies([ratio_check(image)]):
            return tf.shape(image)

    decoded = (
        tf.data.Dataset.from_tensor_slices(np.flatnonzero(unchecked))
        .map(
            lambda index: (index, decode_file(tf.gather(paths, index))),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .ignore_errors()
    )
    whole = ~unchecked
    whole[[int(index) for index, _ in decoded]] = True
    files.remember(whole & unchecked)
    bad = np.sort(paths[~whole])
    if not len(bad):
        return
    decode_file = tf.function(
        decode_file, input_signature=[tf.TensorSpec((), tf.string)], autograph=False
    )
    if len(bad) == 1:
        raise InputError(
            f"An image file ({_reason(decode_file, bad[0])}) could not be decoded; mend or remove "
            f"it: {bad[0]}."
        )
    named = [f"{path} ({_reason(decode_file, path)})" for path in bad[:_NAMED_FILES]]
    raise InputError(
        f"{len(bad)} image files could not be decoded; mend or remove them: {', '.join(named)}"
        f"{_all_in_a_file(bad)}."
    )


def _all_in_a_file(bad):
    """Words on where all files are named, if they are too many for a message."""
    if len(bad) <= _NAMED_FILES:
        return ""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with replaced_whole(cache_folder() / "unreadable.txt") as temporary:
            temporary.write_text("".join(f"{path}\n" for path in bad), encoding="utf-8")
    except OSError:
        return f" and {len(bad) - _NAMED_FILES} more"
    return f" and {len(bad) - _NAMED_FILES} more, all in {cache_folder() / 'unreadable.txt'}"


def _reason(decode_file, path):
    """Why a file cannot be decoded, in words."""
    try:
        decode_file(tf.constant(path))
    except tf.errors.OpError as error:
        return plain_reason(error.message)
    return "it could not be read before"
