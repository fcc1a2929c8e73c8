"""Times of several ways to classify the same images, one image at a time."""

import time

import numpy as np


def seconds_per_image(functions, images, *, repeats):
    """Runs functions in turn, so that a change of the machine's speed falls on all of them alike.

    Args:
        functions: what takes an image.
        images: list of them, a pass.
        repeats: passes of each function; one more, which loads and warms up, is not counted.

    Returns:
        Mean seconds per image, float64 `(repeats, functions)`.
    """
    seconds = []
    for _ in range(repeats + 1):
        seconds.append([])
        for function in functions:
            start = time.perf_counter()
            for image in images:
                function(image)
            seconds[-1].append((time.perf_counter() - start) / len(images))
    return np.array(seconds[1:])
