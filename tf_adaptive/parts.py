"""Which images of every batch are a worker's, where several train together."""

import numpy as np

WHOLE = (0, 1)


def rows_of_part(rows, part):
    """The first of a batch's rows that are a worker's, and the one behind its last.

    Args:
        rows: number of images in the batch, a whole number, or integers as an array or a tensor.
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
    positions = np.arange(first_batch * batch_size, size, dtype=np.int64)
    places = positions % batch_size
    rows_of_its_batch = np.minimum(batch_size, size - (positions - places))
    first, last = rows_of_part(rows_of_its_batch, part)
    return positions[(places >= first) & (places < last)]
