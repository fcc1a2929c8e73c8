"""Which images of every batch are a worker's, where several train together."""

import numpy as np

WHOLE = (0, 1)


def rows_of_part(rows, part):
    """The first of a batch's rows that are a worker's, and the one behind its last.

    Args:
        rows: number of images in the batch, a whole number or an integer tensor.
        part: `(index, count)` of the worker; `WHOLE` for all rows.
    """
    index, count = part
    return index * rows // count, (index + 1) * rows // count


def positions_of_part(size, batch_size, *, first_batch, part):
    """Where a worker's images stand in the order of a pass, batch by batch.

    Args:
        size: images in a pass.
        batch_size: images in a batch, a multiple of the number of workers.
        first_batch: number of batches to leave out at the start.
        part: see `rows_of_part`.

    Returns:
        int64, ascending; a batch is `batch_size // count` of them, the last one of what is left.
    """
    firsts = range(first_batch * batch_size, size, batch_size)
    return np.concatenate(
        [
            first + np.arange(*rows_of_part(min(batch_size, size - first), part), dtype=np.int64)
            for first in firsts
        ]
        or [np.zeros(0, np.int64)]
    )
