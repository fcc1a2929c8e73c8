"""How far a converted network's answers are from those of the Keras model."""

import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.exits.outputs import with_exits
from tf_adaptive.reports.logits import collect_logits, percent
from tf_adaptive.routing.evaluation import routed_collector

from .batch_runner import BatchRunner
from .exit_runner import StagedRunner
from .run import softmax

# Of the images, in every row.
LEAST_AGREEMENT_PERCENT = {"float32": 99.9, "float16": 99.0, "int8": 95.0}
_BATCH_SIZE = 100
# Of logits in a batch and alone, by the largest of them.
_MOST_APART = 1e-3


def agreement_of_exits(runner, model, dataset, *, images, numbers):
    """Runs test images through every exit of a converted network and of the Keras model.

    Args:
        runner: `StagedRunner` of the converted network.
        model: the Keras model it was converted from.
        dataset: `ImageDataset` of the run.
        images: how many test images, spread over the test set.
        numbers: of the exits that are on, from 1.

    Returns:
        A dict from column to number or text for each of them: "exit", "images",
        "accuracy_percent" of the converted network, "keras_accuracy_percent", "agreement_percent"
        (the same class), "largest_probability_difference".
    """
    batches, pictures = _chosen(dataset, images)
    expected, labels = collect_logits(with_exits(model, numbers), batches)
    received = np.stack([runner.all_exits(picture) for picture in pictures], axis=1)
    return [
        {"exit": number, "images": images, **_accuracies(ours, reference, labels)}
        | _agreement(ours, reference)
        for number, ours, reference in zip(numbers, received, expected, strict=True)
    ]


def agreement_of_resolutions(runner, model, dataset, *, images):
    """Runs test images through every branch of a converted DRNet and of the Keras model.

    Args:
        runner: `ResolutionRunner` of the converted network.
        model, dataset, images: as for `agreement_of_exits`.

    Returns:
        As `agreement_of_exits`, with "resolution" in place of "exit". The last row, "chosen", has
        the accuracies at the resolutions that each network's predictor chose; its agreement and
        probabilities are those of the choice.
    """
    batches, pictures = _chosen(dataset, images)
    expected, reference, labels = routed_collector(model)(batches)
    received = np.stack([runner.all_resolutions(picture) for picture in pictures], axis=1)
    rows = [
        {"resolution": resolution, "images": images, **_accuracies(ours, reference, labels)}
        | _agreement(ours, reference)
        for resolution, ours, reference in zip(model.resolutions, received, expected, strict=True)
    ]
    preferences = np.stack([runner.preferences(picture) for picture in pictures])
    every = np.arange(images)
    ours, keras = (
        logits[choices.argmax(-1), every]
        for logits, choices in ((received, preferences), (expected, reference))
    )
    rows.append(
        {"resolution": "chosen", "images": images, **_accuracies(ours, keras, labels)}
        | _agreement(preferences, reference)
    )
    return rows


def check_agreement(table, *, precision, least_percent):
    """Refuses a conversion that answers otherwise than the Keras model.

    Args:
        table: what `agreement_of_exits` or `agreement_of_resolutions` gave.
        precision: of the conversion.
        least_percent: of the images, in every row, on which both must say the same.

    Raises:
        InputError: a row agrees on fewer, or has numbers that are not finite.
    """
    for row in table:
        agrees = float(row["agreement_percent"]) >= least_percent
        if not (agrees and np.isfinite(float(row["largest_probability_difference"]))):
            (name, place), *_ = row.items()
            raise InputError(
                f"A conversion must agree with the Keras model on {least_percent:g} % of the test "
                f"images at every {name}: take a higher `precision`, or allow it with "
                f"`least_agreement`. Received: {precision}, {row['agreement_percent']} % at {name} "
                f"{place}, probabilities up to {row['largest_probability_difference']} apart."
            )


def check_batches(directory, dataset, batch_sizes):
    """Refuses a converted network whose batches are not answered as single images are.

    Args:
        directory: folder of the converted network.
        dataset: `ImageDataset`, of whose test images the first are compared.
        batch_sizes: those of the folder.

    Raises:
        InputError: logits of a batch differ by more than rounding.
    """
    runner, alone = BatchRunner(directory), StagedRunner(directory)
    count = min(max(batch_sizes), dataset.sizes["test"])
    pictures = np.stack(dataset.pictures("test", range(count)))
    expected = np.stack([alone.all_exits(picture) for picture in pictures], axis=1)
    for size in batch_sizes:
        received = runner.all_exits(pictures[:size], batch_size=size)
        apart = np.abs(received - expected[:, :size]).max() / np.abs(expected).max()
        if not apart <= _MOST_APART:
            raise InputError(
                f"A batch of {size} must be answered as its images alone, to {_MOST_APART} of the "
                f"largest logit. Received: logits that differ by {apart:.2g} of it."
            )


def _chosen(dataset, images):
    """Test images, as `(batches, pictures)` of the same ones."""
    step = dataset.sizes["test"] // images
    # One image in `step`, in batches again for the Keras model.
    batches = dataset.batches("test", 1).shard(step, 0).take(images).unbatch().batch(_BATCH_SIZE)
    return batches, dataset.pictures("test", np.arange(images) * step)


def _accuracies(ours, reference, labels):
    return {
        "accuracy_percent": f"{percent(ours.argmax(-1) == labels):.4f}",
        "keras_accuracy_percent": f"{percent(reference.argmax(-1) == labels):.4f}",
    }


def _agreement(ours, reference):
    difference = np.abs(softmax(ours) - softmax(reference)).max()
    return {
        "agreement_percent": f"{percent(ours.argmax(-1) == reference.argmax(-1)):.4f}",
        "largest_probability_difference": f"{difference:.3g}",
    }
