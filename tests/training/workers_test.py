"""Several processes that train one network, on 127.0.0.1."""

import contextlib
import json
import socket
import time

import numpy as np
import pytest

from tests.conftest import SECOND_RUNS, TRAINING, TWO_PHASES
from tests.trainers.programs import (
    assert_same_weights,
    refused,
    rows,
    run_program,
    started,
    without_times,
)
from tf_adaptive.runs.directory import load_finished_run

TRAIN = "trainers.train_multi_exit"
# A step in each of two epochs.
STEPS = (*TRAINING, "--train_size", "16", "--batch_size", "16")


@contextlib.contextmanager
def workers(count, program, *arguments):
    """So many processes of a program, each with its TF_CONFIG: lists of processes and outputs."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for of_worker in sockets:
            of_worker.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{of_worker.getsockname()[1]}" for of_worker in sockets]
        for of_worker in sockets:
            of_worker.close()
        arguments = (*arguments, "--strategy", "multi_worker")
        yield [
            stack.enter_context(started(program, arguments, environment=_place(addresses, index)))
            for index in range(count)
        ]


def _place(addresses, index):
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    return {"TF_CONFIG": json.dumps(config)}


def train_to_the_end(count, program, *arguments):
    """What the workers write to standard output, of which the chief's is first."""
    with workers(count, program, *arguments) as processes:
        for process, (_, stderr) in processes:
            process.join()
            assert process.exitcode == 0, stderr.read_text()
        return [stdout.read_text() for _, (stdout, _) in processes]


def assert_killed_goes_on(tmp_path, count, killed):
    """Kills one of some workers in the second epoch, and starts all of them again."""
    whole, run_dir = tmp_path / "whole", tmp_path / "killed"
    # Batches that 2, 3 and 4 divide.
    training = (*TRAINING, "--batch_size", "12")
    chief, *others = train_to_the_end(count, TRAIN, *training, "--run_dir", whole)
    assert "early exit" in chief and others == [""] * (count - 1)
    with workers(count, TRAIN, *training, "--run_dir", run_dir) as processes:
        deadline = time.monotonic() + 300
        while not (run_dir / "checkpoints" / "ckpt-2.index").exists():
            assert time.monotonic() < deadline
            assert all(process.is_alive() for process, _ in processes)
            time.sleep(0.01)
        process, _ = processes.pop(killed)
        process.kill()
        process.join()
        for process, (_, stderr) in processes:
            process.join(timeout=60)
            assert process.exitcode == 1
            # Before it TensorFlow's own words, which a program that is not forked leaves out.
            *others, line = stderr.read_text().splitlines()
            assert line.startswith("error: All workers of TF_CONFIG must go on to the end.")
            assert "Traceback" not in "".join(others)
    assert not (run_dir / "model.keras").exists()
    train_to_the_end(count, TRAIN, *training, "--run_dir", run_dir, "--resume")
    assert_same_weights(run_dir, whole)
    assert without_times(run_dir / "history.csv") == without_times(whole / "history.csv")


def test_a_killed_worker_stops_the_others_and_all_go_on(tmp_path):
    assert_killed_goes_on(tmp_path, 2, killed=1)


@pytest.mark.large
@pytest.mark.parametrize(("count", "killed"), [(2, 0), (3, 1), (4, 2)])
def test_more_workers_and_the_chief_are_killed(tmp_path, count, killed):
    assert_killed_goes_on(tmp_path, count, killed)


def test_two_workers_step_as_two_replicas_of_one(tmp_path):
    flags = (*STEPS, "--epochs", "1", "--run_dir")
    train_to_the_end(2, TRAIN, *flags, tmp_path / "workers")
    finished = run_program(TRAIN, *flags, tmp_path / "replicas", "--strategy", "mirrored:2")
    assert finished.status == 0, finished.stderr
    models = [load_finished_run(tmp_path / name)[1] for name in ("workers", "replicas")]
    for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    histories = [rows(tmp_path / name / "history.csv") for name in ("workers", "replicas")]
    for name in ("loss", "train_accuracy_exit_4", "validation_accuracy_exit_1"):
        ours, theirs = (float(history[0][name]) for history in histories)
        assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.large
@pytest.mark.parametrize(("program", "flags"), TWO_PHASES)
def test_trainings_of_two_phases(tmp_path, program, flags):
    train_to_the_end(2, program, *flags, "--run_dir", tmp_path / "run")
    assert any((tmp_path / "run" / "report").glob("*.csv"))


@pytest.mark.large
@pytest.mark.parametrize("program", SECOND_RUNS)
def test_trainings_of_a_second_run(tmp_path, finished_run, program):
    flags = ("--epochs", "1", "--batch_size", "32", "--run_dir", finished_run)
    train_to_the_end(2, program, *flags, "--output_dir", tmp_path / "run")
    assert (tmp_path / "run" / "report" / "anytime.csv").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", "Received: none."),
        ("{", "which is not JSON"),
        ("{}", "Received: {}."),
        ('{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "whose jobs"),
        ('{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}', "HOST:PORT"),
        (
            '{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}',
            "two workers have one address",
        ),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            "none of the cluster",
        ),
    ],
)
def test_refuses_a_place_that_is_none(tmp_path, config, message):
    flags = (*TRAINING, "--strategy", "multi_worker", "--run_dir", tmp_path / "run")
    line = refused(tmp_path, TRAIN, *flags, environment={"TF_CONFIG": config})
    assert "The environment's TF_CONFIG must be JSON like" in line and message in line
