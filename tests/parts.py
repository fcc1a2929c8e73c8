"""Checks that workers see the whole of every batch between them, and nothing twice."""

import numpy as np


def assert_parts_are_the_whole(batches_of, *, parts):
    """Compares what several workers are given with the whole.

    Args:
        batches_of: function of `part` that gives batches of `(images, labels)`.
        parts: how many workers.
    """
    whole = _arrays(batches_of(part=(0, 1)))
    shares = [_arrays(batches_of(part=(index, parts))) for index in range(parts)]
    for place, expected in enumerate(whole):
        # A worker has no batch where the last one has too few images for it.
        own = [share[place] for share in shares if place < len(share)]
        for column, values in enumerate(expected):
            together = np.concatenate([batch[column] for batch in own])
            np.testing.assert_array_equal(together, values)
    assert all(len(share) <= len(whole) for share in shares)


def _arrays(batches):
    return [tuple(np.asarray(tensor) for tensor in batch) for batch in batches]
