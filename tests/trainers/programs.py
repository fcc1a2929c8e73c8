"""Runs the programs as `python -m` does, without loading TensorFlow anew for each."""

import contextlib
import csv
import dataclasses
import multiprocessing
import os
import pathlib
import resource
import runpy
import signal
import sys
import tempfile
import time

import numpy as np

from tf_adaptive.runs.directory import load_finished_run

REPOSITORY = pathlib.Path(__file__).parents[2]

# The server loads these and forks a process for each run, before TensorFlow starts a thread.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    [
        *("trainers", "tf_adaptive.runs.evaluate", "tests.tiny_networks"),
        *("tf_adaptive.training.whole", "tf_adaptive.models.from_preset"),
        # What programs import on their way.
        *("matplotlib.figure", "matplotlib.font_manager", "sklearn.datasets"),
        *("sklearn.model_selection", "tensorflow_datasets", "ai_edge_litert.interpreter"),
        "tests.nothing_to_collect",
    ]
)


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a program left: its exit status and what it wrote."""

    status: int
    stdout: str
    stderr: str


def run_program(name, *arguments, file_bytes=None, environment=None):
    """Runs `python -m NAME ARGUMENTS` to its end; no file may become larger than `file_bytes`."""
    settings = {"file_bytes": file_bytes, "environment": environment}
    with started(name, arguments, **settings) as (process, outputs):
        process.join()
        return Finished(process.exitcode, *(output.read_text() for output in outputs))


def refused(directory, name, *arguments, environment=None):
    """The line that a program gives up with, after checking how it did."""
    before = files(directory)
    finished = run_program(name, *arguments, environment=environment)
    assert finished.status == 2, finished.stderr
    assert finished.stdout == ""
    assert files(directory) == before
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def kill_program_at(wanted, name, *arguments):
    """Runs `python -m NAME ARGUMENTS` and kills it once a file is there."""
    with started(name, arguments) as (process, (_, stderr)):
        deadline = time.monotonic() + 300
        while not wanted.exists():
            ended = not process.is_alive()
            assert not ended, f"the training ended before it could be killed: {stderr.read_text()}"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL


def rows(path):
    """The rows of a CSV file, dictionaries of texts."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def without_times(path):
    """The rows of a history or a report, but for what no two runs have in common."""
    times = ("images_per_second", "seconds", "milliseconds_per_image")
    return [{k: text for k, text in row.items() if k not in times} for row in rows(path)]


def assert_same_weights(run_dir, expected_run_dir):
    """The networks of two finished runs are equal to the bit."""
    (_, model), (_, expected) = map(load_finished_run, (run_dir, expected_run_dir))
    for ours, theirs in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def files(directory):
    """Every file below a directory, by its path, with its content; folders have None."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }


@contextlib.contextmanager
def started(name, arguments, *, file_bytes=None, environment=None):
    """A process that runs a program, and the files that its standard output and error go to.

    `environment` is a dictionary of what its environment has besides.
    """
    with tempfile.TemporaryDirectory() as directory:
        outputs = [pathlib.Path(directory, stream) for stream in ("stdout", "stderr")]
        process = _PROCESSES.Process(
            target=_run,
            args=(name, list(map(str, arguments)), outputs, file_bytes, environment or {}),
        )
        process.start()
        yield process, outputs


def _run(name, arguments, outputs, file_bytes, environment):
    os.environ.update(environment)
    if file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    for descriptor, output in enumerate(outputs, start=1):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)
