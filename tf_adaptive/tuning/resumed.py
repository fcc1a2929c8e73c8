"""Trainings within a search, which begins or continues them without being told."""

import shutil

from tf_adaptive.training.loop import train


def train_or_resume(step, dataset, *, run_dir, **arguments):
    """Trains in `run_dir`, going on with what is there, however little it is; see `train`."""
    resume = (run_dir / "config.json").exists()
    if not resume:
        # All that a training killed at its very beginning leaves is half a config.json.
        shutil.rmtree(run_dir, ignore_errors=True)
    train(step, dataset, run_dir=run_dir, resume=resume, **arguments)
