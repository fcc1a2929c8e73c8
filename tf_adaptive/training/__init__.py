"""Training in a run directory that a killed run continues from."""

from tf_adaptive.compression.pruning import Pruning
from tf_adaptive.runs.directory import finish_run, load_finished_run
from tf_adaptive.training.gradient_step import sgd
from tf_adaptive.training.loop import train
from tf_adaptive.training.multi_exit_step import TrainStep
from tf_adaptive.training.progress import Progress, TerminalProgress
from tf_adaptive.training.routed_step import RoutedStep
from tf_adaptive.training.schedules import SCHEDULES, learning_rate_schedule

__all__ = [
    "SCHEDULES",
    "Progress",
    "Pruning",
    "RoutedStep",
    "TerminalProgress",
    "TrainStep",
    "finish_run",
    "learning_rate_schedule",
    "load_finished_run",
    "sgd",
    "train",
]
