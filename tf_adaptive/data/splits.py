"""How many images each split gets, and which."""

import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.extras import lazily

model_selection = lazily("sklearn.model_selection", extra="data")

# One test set for every seed, so that runs with different seeds can be compared.
TEST_SEED = 0


def split_sizes(
    available,
    *,
    train_size,
    validation_size,
    calibration_size,
    num_classes,
    default_validation_size=5_000,
):
    """How many of the `available` training images are for training, validation and calibration.

    Without `validation_size` it is `default_validation_size`, or a tenth where that is less.
    Without `calibration_size` it is as much, or what `train_size` leaves where that is less; 0
    where that is less than the classes.

    Returns:
        `(train_size, validation_size, calibration_size)`.

    Raises:
        InputError: a size below 1, or more images asked for than there are.
    """
    if validation_size is None:
        if available < 10:
            raise InputError(
                "There must be at least ten training images, a tenth of them for validation, or a "
                f"`validation_size`. Received: {available} training images."
            )
        validation_size = min(default_validation_size, available // 10)
    if not 1 <= validation_size < available:
        raise InputError(
            f"`validation_size` must be from 1 to {available - 1}, to leave some of the "
            f"{available} training images. Received: validation_size={validation_size}."
        )
    left = available - validation_size
    if calibration_size is None:
        unused = left - 1 if train_size is None else left - train_size
        calibration_size = min(default_validation_size, available // 10, unused)
        if calibration_size < num_classes:
            calibration_size = 0
    elif not (calibration_size == 0 or num_classes <= calibration_size < left):
        raise InputError(
            f"`calibration_size` must be 0, or from {num_classes}, one image per class, to "
            f"{left - 1}, to leave some of the {available} training images beside "
            f"{validation_size} for validation. Received: calibration_size={calibration_size}."
        )
    left -= calibration_size
    train_size = left if train_size is None else train_size
    if not 1 <= train_size <= left:
        held_out = f"{validation_size} for validation"
        if calibration_size:
            held_out += f" and {calibration_size} for calibration"
        raise InputError(
            f"`train_size` must be from 1 to {left}, the training images left beside "
            f"{held_out}. Received: train_size={train_size}."
        )
    return train_size, validation_size, calibration_size


def hold_out(labels, size, *, seed):
    """Picks `size` images at random, with the classes' proportions kept where that is possible.

    Args:
        labels: int array `(images,)`.

    Returns:
        Two int arrays in ascending order: the positions that stay, the positions held out.
    """
    positions = np.arange(len(labels))
    if size == 0:
        return positions, positions[:0]
    _, counts = np.unique(labels, return_counts=True)
    can_stratify = counts.min() >= 2 and len(counts) <= size <= len(labels) - len(counts)
    stay, held_out = model_selection.train_test_split(
        positions,
        test_size=size,
        random_state=seed,
        stratify=labels if can_stratify else None,
    )
    return np.sort(stay), np.sort(held_out)


def split_test(labels):
    """Holds a fifth out for the test, for data that comes in one piece."""
    return hold_out(labels, len(labels) // 5, seed=TEST_SEED)


def split_training(labels, *, train_size, validation_size, calibration_size, seed):
    """Positions of the images of each split among the training images.

    Returns:
        Dictionary of "train", "validation" and "calibration".

    Raises:
        InputError: see `split_sizes`.
    """
    train_size, validation_size, calibration_size = split_sizes(
        len(labels),
        train_size=train_size,
        validation_size=validation_size,
        calibration_size=calibration_size,
        num_classes=len(np.unique(labels)),
    )
    train, validation = hold_out(labels, validation_size, seed=seed)
    kept, unused = hold_out(labels[train], len(train) - train_size, seed=seed)
    unused = train[unused]
    # The training images do not depend on how many of the others are for calibration.
    calibration = unused
    if calibration_size < len(unused):
        calibration = unused[hold_out(labels[unused], calibration_size, seed=seed)[1]]
    return {"train": train[kept], "validation": validation, "calibration": calibration}
