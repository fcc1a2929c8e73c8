"""The folder of a converted network."""

from ..description import DESCRIPTION_FILE
from ..output_folder import check_replaceable

AGREEMENT_FILE = "agreement.csv"
# What classifies pictures with the folder and nothing of this package.
RUN_FILE = "run.py"
_OURS = (DESCRIPTION_FILE, AGREEMENT_FILE, RUN_FILE, "__pycache__")


def batch_name(signature, batch_size):
    """What the signature of a larger batch is called, beside that of one image."""
    return signature if batch_size == 1 else f"{signature}_batch_{batch_size}"


def check_output(directory):
    """Refuses an output folder that holds something else than a converted network."""
    check_replaceable(
        directory,
        program="savedmodels.convert_tflite",
        marker=DESCRIPTION_FILE,
        is_ours=lambda name: name in _OURS or name.endswith(".tflite"),
    )
