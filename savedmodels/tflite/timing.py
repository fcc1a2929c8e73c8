"""A network with exits in LiteRT, to each of its exits and with early exit, to be timed."""

from tf_adaptive.exits.early_exit import EarlyExit
from tf_adaptive.exits.thresholds import NEVER

from .conversion import convert_model
from .exit_runner import StagedRunner

_TEST_IMAGES = 20


def runs_in_litert(model, point, dataset, directory, *, threads=None):
    """Functions of a picture, each a converted network that leaves at one exit, and early exit.

    Args:
        model: functional `keras.Model` with K exits.
        point: `OperatingPoint` of early exit.
        dataset: `ImageDataset` of the network.
        directory: an empty folder for the converted network, there as long as they are used.
        threads: of the processor; None for one.

    Returns:
        `(exits, early_exit)`: a list of K functions of a uint8 picture
        `(height, width, channels)`, and one.
    """
    convert_model(
        EarlyExit(model, point),
        dataset,
        directory,
        single_file=True,
        test_images=min(_TEST_IMAGES, dataset.sizes["test"]),
    )
    count = len(model.outputs)

    def runner(thresholds):
        run = StagedRunner(directory, thresholds=thresholds, threads=threads or 1)

        def timed(picture):
            run(picture)
            return []

        return timed

    exits = [
        runner([0.0 if number == last else NEVER for number in range(1, count)])
        for last in range(1, count + 1)
    ]
    return exits, runner(None)
