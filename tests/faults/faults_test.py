"""A few of the faults that `benchmarks.faults` tries by the hundred and by the thousand."""

import pytest

from tests.faults.inputs import KINDS, made_files, try_inputs
from tests.faults.kills import KILLABLE, kill_at_random
from tests.faults.load import ask_in_threads
from tests.faults.random_flags import try_flags

pytestmark = pytest.mark.large


@pytest.fixture(scope="module")
def damaged_files(made_once, finished_run):
    return made_once("faults", lambda folder: made_files(folder / "files", finished_run)) / "files"


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_inputs_are_answered_or_refused(damaged_files, kind):
    outcome = try_inputs(kind, damaged_files, inputs=50, seed=0)
    assert outcome["answered"] + outcome["refused"] == 50
    assert outcome["answered"] < 50 or kind == "checkpoints"


@pytest.mark.parametrize("name", KILLABLE)
def test_killed_programs_go_on(finished_run, static_run, tmp_path, name):
    runs = {"multi_exit": finished_run, "static": static_run}
    assert kill_at_random(KILLABLE[name], runs, tmp_path, kills=2, seed=0) >= 1


def test_flags_that_hold_anything(finished_run, static_run, tmp_path):
    runs = {"multi_exit": finished_run, "static": static_run}
    assert sum(try_flags(runs, tmp_path, inputs=10, seed=0).values()) == 10


def test_threads_get_the_answers_of_one(damaged_files):
    (version,) = (damaged_files / "served").glob("*/1")
    outcome = ask_in_threads(version, seconds=20, threads=8, seed=0)
    assert outcome["requests"] > 100
