"""From a finished run to its use: programs, run as `python -m savedmodels.NAME`."""

from tf_adaptive.programs import quiet

quiet.import_tensorflow()
