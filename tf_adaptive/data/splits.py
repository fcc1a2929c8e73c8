"""How many images each split gets, and which."""

import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.extras import lazily

model_selection = lazily("sklearn.model_selection", extra="data")

# One test set for every seed, so that runs with different seeds can be compared.
TEST_SEED = 0


def split_sizes(available, *, train_size, validation_size, default_validation_size=5_000):
    """How many of the `available` training images are for training and for validation.

    Without `validation_size` it is `default_validation_size`, or a tenth where that is less.

    Returns:
        `(train_size, validation_size)`.

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
    train_size = left if train_size is None else train_size
    if not 1 <= train_size <= left:
        raise InputError(
            f"`train_size` must be from 1 to {left}, the training images left beside "
            f"{validation_size} for validation. Received: train_size={train_size}."
        )
    return train_size, validation_size


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


def split_validation(labels, *, train_size, validation_size, seed):
    """Positions of the training and of the validation images among the training images.

    Raises:
        InputError: see `split_sizes`.
    """
    train_size, validation_size = split_sizes(
        len(labels), train_size=train_size, validation_size=validation_size
    )
    train, validation = hold_out(labels, validation_size, seed=seed)
    kept, _ = hold_out(labels[train], len(train) - train_size, seed=seed)
    return train[kept], validation
