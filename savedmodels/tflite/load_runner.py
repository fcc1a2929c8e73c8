"""What runs a converted network, whichever it is."""

from tf_adaptive.exits.operating_point import check_no_operating_point

from ..description import read_description
from .exit_runner import StagedRunner
from .resolution_runner import ResolutionRunner


def load_runner(directory, *, thresholds=None, accelerator="cpu", threads=1):
    """The runner of a folder that `savedmodels.convert_tflite` wrote.

    Args:
        directory: the folder.
        thresholds: see `StagedRunner`; a DRNet has none.
        accelerator: "cpu" or "gpu".
        threads: of the CPU.

    Returns:
        `StagedRunner` of a network with exits, `ResolutionRunner` of a DRNet.

    Raises:
        InputError: a folder that is no converted network; thresholds that do not fit; an unknown
            accelerator, or one that is not there.
    """
    if "branches" not in read_description(directory, {}):
        return StagedRunner(
            directory, thresholds=thresholds, accelerator=accelerator, threads=threads
        )
    check_no_operating_point(thresholds=thresholds)
    return ResolutionRunner(directory, accelerator=accelerator, threads=threads)
