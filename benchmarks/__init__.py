"""Measurements, run as `python -m benchmarks.NAME`: ratios within one run, never tests."""

from tf_adaptive.programs import quiet

quiet.import_tensorflow()
