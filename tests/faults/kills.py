"""Programs killed at random moments, continued as a user would, and compared with whole runs."""

import dataclasses
import pathlib
import shutil
import time

import numpy as np
import tensorflow as tf

from savedmodels.classifiers import load_classifier
from tests.conftest import (
    BUILT_EXITS_TRAINING,
    DRNET_SEARCH,
    DRNET_TRAINING,
    EXITS_TRAINING,
    MULTI_EXIT_SEARCH,
    QUANTIZED_TRAINING,
    STATIC_TRAINING,
    TRAINING,
)
from tests.trainers.programs import assert_same_weights, rows, run_program, started, without_times
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import load_finished_run

_OFTEN = ("--checkpoint_seconds", "0.2")


@dataclasses.dataclass(frozen=True)
class Killable:
    """A program to kill.

    Attributes:
        program: its module.
        arguments: of its command line, without where it writes.
        of: the run it begins with, "multi_exit" or "static"; None for one that needs none.
        writes: the flag of where it writes.
        made: "run", "search" or "model": what it writes.
    """

    program: str
    arguments: tuple
    of: str | None = None
    writes: str = "--run_dir"
    made: str = "run"


KILLABLE = {
    "train_multi_exit": Killable("trainers.train_multi_exit", (*TRAINING, *_OFTEN)),
    "train_static": Killable("trainers.train_static", (*STATIC_TRAINING, *_OFTEN)),
    "train_exits, frozen": Killable(
        "trainers.train_exits", (*EXITS_TRAINING, *_OFTEN), of="static"
    ),
    "train_exits, backbone_then_joint": Killable(
        "trainers.train_exits",
        (*BUILT_EXITS_TRAINING, "--mode", "backbone_then_joint", *_OFTEN),
    ),
    "train_collaboration": Killable(
        "trainers.train_collaboration",
        ("--epochs", "2", "--batch_size", "16", *_OFTEN),
        of="multi_exit",
        writes="--output_dir",
    ),
    "train_quantized": Killable(
        "trainers.train_quantized",
        (*QUANTIZED_TRAINING, *_OFTEN),
        of="multi_exit",
        writes="--output_dir",
    ),
    "train_drnet": Killable("trainers.train_drnet", (*DRNET_TRAINING, *_OFTEN)),
    "tune, multi_exit": Killable("trainers.tune", (*MULTI_EXIT_SEARCH, *_OFTEN), made="search"),
    "tune, drnet": Killable("trainers.tune", (*DRNET_SEARCH, *_OFTEN), made="search"),
    "export": Killable("savedmodels.export", (), of="multi_exit", writes="--output", made="model"),
    "convert_tflite": Killable(
        "savedmodels.convert_tflite",
        ("--test_images", "60"),
        of="multi_exit",
        writes="--output",
        made="model",
    ),
}


def kill_at_random(killable, runs, folder, *, kills, seed, shown=iter):
    """Kills a program so many times, each at a moment drawn from the whole run's duration.

    What was killed is continued until it ends, by --resume where it had begun, and compared with a
    run that nothing interrupted; then the next one begins.

    Args:
        killable: `Killable`.
        runs: dictionary from "multi_exit" and "static" to finished runs' directories.
        folder: an empty folder to work in.
        kills: how many.
        seed: what the moments are drawn from.
        shown: function of a range, which may show how far it is.

    Returns:
        How many continued runs ended and were compared.

    Raises:
        AssertionError: a run that does not go on, another result, or files left behind.
    """
    folder = pathlib.Path(folder)
    directory, reference = folder / "killed" / "run", folder / "whole" / "run"
    begun = time.monotonic()
    finished = run_program(killable.program, *arguments_of(killable, runs, reference))
    duration = time.monotonic() - begun
    assert finished.status == 0, finished.stderr
    draw = np.random.default_rng(seed)
    compared = 0
    for _ in shown(range(kills)):
        while not _is_killed(killable, runs, directory, after=draw.uniform(0, duration)):
            compared += 1
            _compare(killable, runs, directory, reference)
            shutil.rmtree(directory.parent)
    assert not _is_killed(killable, runs, directory, after=None)
    _compare(killable, runs, directory, reference)
    return compared + 1


def arguments_of(killable, runs, directory):
    """The command line that starts a program, or continues what it began in a directory."""
    arguments = [*killable.arguments, killable.writes, directory]
    if killable.of is not None:
        arguments += ["--backbone" if killable.of == "static" else "--run_dir", runs[killable.of]]
    directory.parent.mkdir(exist_ok=True)
    if killable.made != "model" and (directory / "config.json").exists():
        arguments.append("--resume")
    return arguments


def _is_killed(killable, runs, directory, *, after):
    """Starts or continues the program; whether it ran until it was killed."""
    with started(killable.program, arguments_of(killable, runs, directory)) as (process, outputs):
        process.join(after)
        if process.is_alive():
            process.kill()
            process.join()
            return True
        told = outputs[1].read_text()
        # It may have been killed with all its work done.
        assert process.exitcode == 0 or "which is finished" in told, told
        return False


def _compare(killable, runs, directory, reference):
    """What a continued run has made is what the whole one made, and nothing is left over."""
    left_over = [path for path in directory.parent.rglob("*") if ".unfinished" in path.name]
    assert not left_over, left_over
    if killable.made == "model":
        _compare_answers(runs, directory, reference)
        return
    assert _names(directory) == _names(reference)
    for history in reference.rglob("history.csv"):
        ours = directory / history.relative_to(reference)
        assert without_times(ours) == without_times(history), ours
    if killable.made == "run":
        assert_same_weights(directory, reference)
        for table in ("anytime.csv", "comparison.csv"):
            if (reference / "report" / table).exists():
                ours, theirs = (run / "report" / table for run in (directory, reference))
                assert without_times(ours) == without_times(theirs), table
    else:
        for table in ("trials.csv", "pareto.csv"):
            assert rows(directory / table) == rows(reference / table), table


def _names(directory):
    """Every file below a directory but checkpoints and logs, whose names count interruptions."""
    return {
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if not {"checkpoints", "tensorboard"} & set(path.parts)
    }


def _compare_answers(runs, directory, reference):
    config, _ = load_finished_run(runs["multi_exit"])
    pictures = load_run_dataset(config).pictures("test", range(5))
    ours, theirs = load_classifier(directory), load_classifier(reference)
    assert len(list(directory.rglob("*"))) == len(list(reference.rglob("*")))
    for picture in pictures:
        file = tf.io.encode_png(picture).numpy()
        assert ours(file) == theirs(file)
