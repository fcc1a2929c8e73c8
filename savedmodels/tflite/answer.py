"""What the runners of converted networks say of an image."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a converted network says of an image.

    Attributes:
        class_number: the likeliest class, from 0.
        class_name: its name.
        probabilities: float32 `(classes,)`, of the exit or resolution that answered.
        confidence: of a network with exits, by its measure; of a DRNet, the largest probability.
        exit: that the image left at, counted from 1; None for a DRNet.
        resolution: height and width that the image was classified at; None for a network with
            exits.
        seconds: from the image to the answer; those of the first image at an exit or resolution
            include loading it.
    """

    class_number: int
    class_name: str
    probabilities: np.ndarray
    confidence: float
    exit: int | None
    resolution: int | None
    seconds: float
