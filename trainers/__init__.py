"""Programs, run as `python -m trainers.NAME`."""

from tf_adaptive.programs import quiet

quiet.import_tensorflow()
