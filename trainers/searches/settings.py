"""What every search is given."""

import dataclasses

from tf_adaptive.data.image_dataset import ImageDataset
from tf_adaptive.training.descent import Descent
from tf_adaptive.training.strategy import Devices


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """What a search of either tuner is given.

    Attributes:
        dataset: `ImageDataset` of `dataset_name`.
        preset: of the network.
        dtype: dtype policy of the layers in training, or None.
        devices: `Devices`.
        descent: `Descent` of a whole trial, of its first phase where it has two.
        batch_size, seed, checkpoint_seconds: see `train`.
        config: dict of every setting, in values JSON can hold.
        shared_flags: dict of the flags that the training programs have too.
    """

    dataset: ImageDataset
    dataset_name: str
    preset: str
    dtype: str | None
    devices: Devices
    descent: Descent
    batch_size: int
    seed: int
    checkpoint_seconds: float
    config: dict
    shared_flags: dict
