"""How many weights of a network are zeros, and what that saves in a file."""

import dataclasses
import gzip
import pathlib
import tempfile

import numpy as np

from tf_adaptive.compression.pruning import kernels_among


@dataclasses.dataclass(frozen=True)
class SparsityRow:
    """One kernel, or all of them.

    Attributes:
        kernel: path of the variable, or "total".
        weights: how many numbers it holds.
        zeros: how many of them are 0.
    """

    kernel: str
    weights: int
    zeros: int


def sparsity(model):
    """The zeros in a model's kernels, those that `tf_adaptive.compression.pruning` prunes.

    Args:
        model: a `keras.Model`.

    Returns:
        A list of `SparsityRow`, one per kernel and the total last.
    """
    rows = [
        SparsityRow(kernel.path, int(np.prod(kernel.shape)), int(np.sum(kernel.numpy() == 0)))
        for kernel in kernels_among(model.trainable_variables)
    ]
    total = SparsityRow("total", sum(row.weights for row in rows), sum(row.zeros for row in rows))
    return [*rows, total]


def gzip_size(path):
    """Bytes that are left of a file when gzip compresses it as far as it can."""
    return len(gzip.compress(pathlib.Path(path).read_bytes()))


def dense_gzip_size(model):
    """Bytes that `gzip_size` would give for the `.keras` file of a model without its zeros.

    They are replaced by normal random numbers of the standard deviation of the kernel's others,
    which compress as badly as trained weights. The model's weights are as before in the end.

    Args:
        model: a `keras.Model`.
    """
    kernels = kernels_among(model.trainable_variables)
    sparse = [kernel.numpy() for kernel in kernels]
    generator = np.random.default_rng(0)
    try:
        for kernel, weights in zip(kernels, sparse, strict=True):
            kept = weights[weights != 0]
            noise = generator.normal(scale=np.std(kept) if kept.size else 1.0, size=weights.shape)
            kernel.assign(np.where(weights == 0, noise, weights))
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "dense.keras"
            model.save(path)
            return gzip_size(path)
    finally:
        for kernel, weights in zip(kernels, sparse, strict=True):
            kernel.assign(weights)
