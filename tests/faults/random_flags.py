"""Programs with a flag that holds anything: each ends well or says in a line what was wrong."""

import functools
import pathlib
import re
import resource
import shutil
import subprocess
import sys

import hypothesis
from hypothesis import strategies as st

from tests.faults.kills import KILLABLE, arguments_of
from tests.faults.mutations import many
from tests.trainers.programs import REPOSITORY, run_program

# Long enough for every refusal; what then still runs was given work.
_SECONDS = 90
_MOST_BYTES = 12 * 2**30
_STATUSES = (0, 1, 2)

_VALUES = st.one_of(
    st.sampled_from(["", "0", "-1", "1", "1.5", "nan", "inf", "1e400", "true", "none", "a,b", "/"]),
    st.integers(-(10**4), 10**4).map(str),
    st.floats().map(str),
    st.lists(st.integers(0, 99), max_size=4).map(lambda numbers: ",".join(map(str, numbers))),
    # A command line holds no zero byte, and no halves of characters.
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12),
)


def try_flags(runs, folder, *, inputs, seed):
    """Starts programs with one of their flags set to anything.

    Args:
        runs, folder: see `kill_at_random`.
        inputs: how many starts.
        seed: what they are drawn from.

    Returns:
        Dictionary: how many were "answered", "refused", and "running" after a minute and a half.

    Raises:
        AssertionError: a traceback, a signal, or more than a line where it was refused.
    """
    outcomes = {"answered": 0, "refused": 0, "running": 0}

    @hypothesis.seed(seed)
    @many(inputs)
    @hypothesis.given(st.sampled_from(sorted(KILLABLE)), st.data(), _VALUES)
    def every(program, data, value):
        killable = KILLABLE[program]
        name = data.draw(st.sampled_from(_flags_of(killable.program)))
        directory = pathlib.Path(folder, "flags", "run")
        shutil.rmtree(directory.parent, ignore_errors=True)
        arguments = [*arguments_of(killable, runs, directory), f"--{name}={value}"]
        status, stderr = _run(killable.program, arguments)
        if status is None:
            outcomes["running"] += 1
            return
        assert status in _STATUSES and "Traceback" not in stderr, (program, name, value, stderr)
        if status == 2:
            errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
            assert len(errors) == 1, (program, name, value, stderr)
        outcomes["refused" if status == 2 else "answered"] += 1

    every()
    return outcomes


@functools.cache
def _flags_of(program):
    """The names of a program's own flags, but for where it writes, which is ours to say."""
    told = run_program(program, "--help").stdout
    names = re.findall(r"^ +--(?:\[no\])?(\w+):", told, re.MULTILINE)
    return sorted(set(names) - {"run_dir", "output", "output_dir", "help"})


def _run(program, arguments):
    """`(status, stderr)` of a program; None for the status of one that still ran."""
    try:
        finished = subprocess.run(
            [sys.executable, "-m", program, *map(str, arguments)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES,) * 2),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return finished.returncode, finished.stderr
