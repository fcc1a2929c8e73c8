"""From a finished run to its use: programs, run as `python -m savedmodels.NAME`."""

from tf_adaptive.programs import quiet

quiet.import_tensorflow()

from .serving.saved_model import export_model  # noqa: E402
from .tflite.conversion import convert_model  # noqa: E402

__all__ = ["convert_model", "export_model"]
