"""Loads a data set by its name."""

from tf_adaptive.data.digits import load_digits
from tf_adaptive.data.fashion_mnist_scaled import load_fashion_mnist_scaled
from tf_adaptive.data.folder import load_folder
from tf_adaptive.data.tfds_source import load_tfds
from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.pictures import AS_SEEN, PICTURE_READINGS

_FOLDER_PREFIX = "folder:"
_OWN_NAMES = ("digits", "fashion_mnist_scaled")


def load_dataset(
    dataset,
    *,
    image_size=None,
    train_size=None,
    validation_size=None,
    calibration_size=None,
    data_dir=None,
    seed=0,
    evaluation_split=None,
    picture_reading=AS_SEEN,
):
    """Loads images with their classes; training data are held out to validate and to calibrate.

    Augmentation is the papers': for images in memory a shift by up to an eighth of the side
    (4 pixels at 32) and a flip, but no flip for digits and letters; for the others a random
    resized crop and a flip; for "fashion_mnist_scaled" another canvas and a flip.

    Args:
        dataset: "digits" (scikit-learn's, 8 x 8 enlarged), "fashion_mnist",
            "fashion_mnist_scaled" (its objects at many scales on a cluttered canvas, see
            `tf_adaptive.data.fashion_mnist_scaled`), "cifar10", "cifar100", "imagenet2012",
            another image-classification set of TFDS (as "oxford_iiit_pet"), or "folder:PATH"
            with class folders, see `tf_adaptive.data.folder.load_folder`.
        image_size: height and width in pixels. By default 24 for digits, 96 for
            "fashion_mnist_scaled" (which takes 28 and more), the images' own where all are of
            one size and fit in memory, and 224 for the others.
        train_size: keeps only so many of the training images that validation leaves. By
            default all.
        validation_size: images held out of the training data. By default 5,000, for
            ImageNet 50,000, or a tenth where that is less.
        calibration_size: images held out of the training data to choose thresholds on, apart from
            those of validation. By default as many as for validation, or what `train_size` leaves
            where that is less; none where that is less than the classes. 0 for none: those of
            validation are used.
        data_dir: TFDS's folder. By default TFDS's own default.
        seed: what the split is drawn from: a random part, in the classes' proportions. Data
            read from TFDS as needed are cut at a place instead, as TFDS shuffled them when it
            prepared them. The test images never depend on it.
        evaluation_split: which split of a TFDS set is its test data, as "validation". By default
            "test", or "validation" where that is missing or its labels are kept back, or a fifth
            of the training images.
        picture_reading: "as_seen": files are read as people see them, turned as the camera was
            held and with white for what is seen through; or "as_stored", as networks were trained
            whose settings lack it. See `tf_adaptive.data.decoding.decode`.

    Returns:
        An `ImageDataset`.

    Raises:
        InputError: an unknown name, data that cannot be had, or an argument out of range.

    Example:
        >>> data = ta.load_dataset("digits")
        >>> data.image_shape, data.num_classes
        ((24, 24, 1), 10)
    """
    if not isinstance(dataset, str):
        raise InputError(f"`dataset` must be a string. Received: dataset={dataset!r}.")
    for argument, value in (
        ("image_size", image_size),
        ("train_size", train_size),
        ("validation_size", validation_size),
    ):
        if value is not None:
            check_whole(argument, value, least=1)
    if calibration_size is not None:
        check_whole("calibration_size", calibration_size, least=0)
    check_whole("seed", seed, least=0, most=2**32 - 1)
    is_from_tfds = dataset not in _OWN_NAMES and not dataset.startswith(_FOLDER_PREFIX)
    if evaluation_split is not None and not is_from_tfds:
        raise InputError(
            "`evaluation_split` must be left out for a data set that is not of TFDS. "
            f"Received: evaluation_split={evaluation_split!r} for {dataset!r}."
        )
    check_choice("picture_reading", picture_reading, PICTURE_READINGS)
    options = {
        "image_size": image_size,
        "train_size": train_size,
        "validation_size": validation_size,
        "calibration_size": calibration_size,
        "seed": seed,
    }
    if dataset == "digits":
        loaded = load_digits(**options)
    elif dataset == "fashion_mnist_scaled":
        loaded = load_fashion_mnist_scaled(data_dir=data_dir, **options)
    elif dataset.startswith(_FOLDER_PREFIX):
        path = dataset.removeprefix(_FOLDER_PREFIX)
        loaded = load_folder(dataset, path, picture_reading=picture_reading, **options)
    else:
        loaded = load_tfds(
            dataset,
            data_dir=data_dir,
            evaluation_split=evaluation_split,
            picture_reading=picture_reading,
            **options,
        )
    # Images in memory come from no files, but a network trained on them is shown some.
    loaded.picture_reading = picture_reading
    loaded.settings = {
        "dataset": dataset,
        "data_dir": data_dir,
        "image_size": image_size,
        "train_size": train_size,
        "validation_size": validation_size,
        "calibration_size": calibration_size,
        "evaluation_split": evaluation_split,
        "picture_reading": picture_reading,
    }
    return loaded
