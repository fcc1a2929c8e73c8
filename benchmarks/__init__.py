"""Measurements, run as `python -m benchmarks.NAME`: ratios within one run, never tests."""

from trainers import quiet_start

quiet_start.import_tensorflow()
