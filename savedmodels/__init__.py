"""From a finished run to its use: programs, run as `python -m savedmodels.NAME`."""

from trainers import quiet_start

quiet_start.import_tensorflow()
