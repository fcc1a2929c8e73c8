"""Measurements, run as `python -m benchmarks.NAME`: ratios within one run, never tests."""
