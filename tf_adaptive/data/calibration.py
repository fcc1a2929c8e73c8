"""The images that the ranges of 8-bit numbers are measured on."""

import numpy as np

from tf_adaptive.images import normalized


def read_calibration_images(dataset, count):
    """Training images to measure ranges on, as evaluation sees them.

    Args:
        dataset: an `ImageDataset`.
        count: how many, spread over the training set; all of them where there are fewer.

    Returns:
        float32 `(images, height, width, channels)`, normalised.
    """
    size = dataset.sizes["train"]
    positions = np.linspace(0, size - 1, min(count, size)).round().astype(int)
    pictures = np.stack(dataset.pictures("train", positions))
    return normalized(pictures, dataset.mean, dataset.std).numpy()
