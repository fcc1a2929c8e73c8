"""A report of made-up logits of a network with three exits and four classes."""

from types import SimpleNamespace

import numpy as np

from tf_adaptive.exits.report import ExitReport

COSTS = [
    SimpleNamespace(macs=k * 10_000_001, lazy_macs=k * 9_000_000, parameters=k * 1_000)
    for k in (1, 2, 4)
]


def random_logits(num_samples, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, num_samples)
    logits = random.normal(size=(3, num_samples, 4)).astype("float32")
    logits[:, np.arange(num_samples), labels] += np.array([[1], [2], [4]])
    return logits, labels


def pictures(indices):
    return [np.full((8, 8, 1), index % 256, "uint8") for index in indices]


VALIDATION_LOGITS, VALIDATION_LABELS = random_logits(90, seed=0)
CALIBRATION_LOGITS, CALIBRATION_LABELS = random_logits(80, seed=2)
TEST_LOGITS, TEST_LABELS = random_logits(200, seed=1)


def write(directory, **changes):
    arguments = {
        "validation_logits": VALIDATION_LOGITS,
        "validation_labels": VALIDATION_LABELS,
        "calibration_logits": CALIBRATION_LOGITS,
        "calibration_labels": CALIBRATION_LABELS,
        "test_logits": TEST_LOGITS,
        "test_labels": TEST_LABELS,
        "costs": COSTS,
        "pictures": pictures,
    }
    report = ExitReport(**{**arguments, **changes})
    report.write(directory)
    return report
