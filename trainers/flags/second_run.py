"""Trainings that make a new run of a finished one: their flags and how they end."""

from absl import flags

from tf_adaptive.errors import check_whole
from tf_adaptive.programs import program
from tf_adaptive.runs.dataset import load_run_dataset, settings_of_data
from tf_adaptive.runs.directory import check_open_run, finish_run
from tf_adaptive.runs.evaluate import report_run
from tf_adaptive.training.descent import Descent
from tf_adaptive.training.loop import train
from tf_adaptive.training.progress import TerminalProgress

from . import strategy as strategy_flags
from .resumed import MAY_DIFFER

OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "directory of the new run", required=True)
RESUME = flags.DEFINE_bool("resume", False, "continue the run in --output_dir")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets; the run's if unset")
BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "images in a batch")
MOMENTUM = flags.DEFINE_float("momentum", 0.9, "momentum of SGD")
NESTEROV = flags.DEFINE_bool("nesterov", True, "Nesterov's form of momentum")
_WEIGHT_DECAY = flags.DEFINE_float("weight_decay", 1e-4, "L2 on all weights that are trained")
SEED = flags.DEFINE_integer("seed", 0, "seed of what is drawn: new weights, order, augmentation")
_CHECKPOINT_SECONDS = flags.DEFINE_float(
    "checkpoint_seconds", 300.0, "time between checkpoints within an epoch"
)


def check_flags():
    """Refuses what can be refused before a run is read."""
    if BATCH_SIZE.value is not None:
        check_whole("batch_size", BATCH_SIZE.value, least=1)
    check_whole("seed", SEED.value, least=0, most=2**32 - 1)


def is_done(devices):
    """Whether the run in --output_dir had ended, but for its report, which it has then.

    Args:
        devices: `Devices`.

    Raises:
        InputError: a new run cannot be made there, or with --resume none is there to go on with.
    """
    if strategy_flags.is_done(devices, OUTPUT_DIR.value, resume=RESUME.value):
        return True
    if devices.is_chief:
        check_open_run(OUTPUT_DIR.value, resume=RESUME.value, name=OUTPUT_DIR.name)
    return False


def descent(dataset, *, schedule, learning_rate, epochs, drop_epochs=None, label_smoothing=0.0):
    """The `Descent` that the flags ask for, with what is the program's own.

    Args:
        dataset: `ImageDataset`.
        schedule, learning_rate, epochs, drop_epochs, label_smoothing: see `Descent`.
    """
    return Descent(
        schedule=schedule,
        learning_rate=learning_rate,
        epochs=epochs,
        steps_per_epoch=dataset.steps_per_epoch(BATCH_SIZE.value),
        drop_epochs=drop_epochs,
        momentum=MOMENTUM.value,
        nesterov=NESTEROV.value,
        weight_decay=_WEIGHT_DECAY.value,
        label_smoothing=label_smoothing,
    )


def data_of(config):
    """The data set of the finished run whose settings these are, see `load_run_dataset`."""
    program.fill_unset(data_dir=config.get("data_dir"))
    return load_run_dataset(config, data_dir=_DATA_DIR.value)


def train_to_end(step, data, model, *, devices, epochs, config, dataset):
    """Trains, and leaves a finished run with its report in --output_dir.

    Args:
        step, data, epochs: see `train`.
        devices: `Devices`.
        model: what the run is to hold.
        config: settings of the finished run.
        dataset: `ImageDataset`, of `data_of`.
    """
    train(
        step,
        data,
        devices=devices,
        epochs=epochs,
        batch_size=BATCH_SIZE.value,
        seed=SEED.value,
        run_dir=OUTPUT_DIR.value,
        config=settings_of_data(config) | program.flag_values() | dataset.description(),
        resume=RESUME.value,
        may_differ=(*MAY_DIFFER, "output_dir"),
        checkpoint_seconds=_CHECKPOINT_SECONDS.value,
        progress=TerminalProgress(),
    )
    strategy_flags.leave_to_chief(devices)
    finish_run(OUTPUT_DIR.value, model)
    report_run(OUTPUT_DIR.value, dataset=dataset)
