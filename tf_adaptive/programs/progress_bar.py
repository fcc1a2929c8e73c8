"""A progress bar over batches."""

import sys

import tqdm


def with_bar(batches, size, batch_size, description):
    """Batches of `size` images, under a progress bar where standard error is a terminal."""
    return tqdm.tqdm(
        batches,
        desc=description,
        total=-(-size // batch_size),
        unit="batch",
        leave=False,
        disable=not sys.stderr.isatty(),
    )
