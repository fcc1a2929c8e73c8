"""The test images that a report shows, and the names of their classes."""

import numpy as np

from tf_adaptive.errors import InputError


def checked_class_names(class_names, num_classes):
    """The class names, or the class numbers where they are None; refuses a wrong number."""
    if class_names is None:
        return [str(number) for number in range(num_classes)]
    if len(class_names) != num_classes:
        raise InputError(
            f"`class_names` must hold a name for each of the {num_classes} classes of the "
            f"logits. Received: {len(class_names)} names."
        )
    return class_names


def picture_grid(words, chosen, predicted, labels, pictures, *, most, note=None):
    """A heading and the images for a grid of some of the test set's pictures.

    Args:
        words: what the heading starts with.
        chosen: ascending test positions.
        predicted: integers `(samples,)`, the class of each test image.
        labels: integers `(samples,)`.
        pictures: a function from a list of test positions to their images, uint8
            `(height, width, 1 or 3)` each.
        most: how many images to show.
        note: None, or a function of a test position that gives a line to put below its picture.

    Returns:
        `(heading, images)`, see `tf_adaptive.reports.figures.draw_pictures`.
    """
    heading = f"{words}: {len(chosen):,} of {len(labels):,} images"
    if len(chosen):
        accuracy = 100 * np.mean(predicted[chosen] == labels[chosen])
        heading += f", {accuracy:.1f} % right"
    # Evenly spaced over the test set, so that nobody picked them.
    shown = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), most)).round().astype(int)]
    images = [
        (picture, predicted[index], labels[index], *([] if note is None else [note(index)]))
        for index, picture in zip(shown, pictures(shown.tolist()), strict=True)
    ]
    return heading, images
