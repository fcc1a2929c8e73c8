"""The handwritten digits that come with scikit-learn: 1,797 images, no download."""

import numpy as np

from tf_adaptive.data.array_images import array_dataset
from tf_adaptive.data.augmentation import resize
from tf_adaptive.data.splits import split_test
from tf_adaptive.extras import lazily

datasets = lazily("sklearn.datasets", extra="data")


def load_digits(*, image_size, train_size, validation_size, calibration_size, seed):
    """The 8 x 8 digits, enlarged to `image_size` (24 by default).

    A fifth is the test split, the same for every seed.
    """
    digits = datasets.load_digits()
    image_size = image_size or 24
    brightness = digits.images[..., np.newaxis] * (255 / 16)
    images = resize(brightness, (image_size, image_size)).numpy()
    rest, test = split_test(digits.target)
    return array_dataset(
        "digits",
        class_names=[str(name) for name in digits.target_names],
        training=(images[rest], digits.target[rest]),
        test=(images[test], digits.target[test]),
        train_size=train_size,
        validation_size=validation_size,
        calibration_size=calibration_size,
        seed=seed,
        flip=False,
    )
