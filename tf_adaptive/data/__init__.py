"""Image data sets: sources, splits, augmentation, batches."""

from tf_adaptive.data.image_dataset import ImageDataset
from tf_adaptive.data.load import load_dataset

__all__ = ["ImageDataset", "load_dataset"]
