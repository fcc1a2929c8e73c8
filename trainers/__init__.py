"""Programs, run as `python -m trainers.NAME`."""

from trainers import quiet_start

quiet_start.import_tensorflow()
