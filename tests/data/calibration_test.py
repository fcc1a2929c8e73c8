import numpy as np

from tests.training.tiny_training import tiny_dataset
from tf_adaptive.data.calibration import read_calibration_images


def test_images_are_spread_over_the_training_set_as_evaluation_sees_them():
    dataset = tiny_dataset()
    images = np.concatenate([images for images, _ in dataset.batches("train", 8)])
    np.testing.assert_array_equal(read_calibration_images(dataset, 3), images[[0, 22, 43]])
    np.testing.assert_array_equal(read_calibration_images(dataset, 1000), images)
    assert read_calibration_images(dataset, 3).dtype == np.float32
