"""A table's cells: trainings that are done once for each setting they depend on."""

import hashlib
import json
import pathlib
import subprocess
import sys

from tf_adaptive.errors import InputError
from tf_adaptive.runs.evaluate import has_report


def cell_directory(runs_dir, name, settings):
    """Where a cell's run is: its name, and a mark of its settings.

    Another setting is another directory, so that no run is taken for what it is not.

    Args:
        runs_dir: `pathlib.Path`, the folder of all runs.
        name: what a person knows the cell by.
        settings: dictionary of all that changes the outcome, in values JSON can hold.
    """
    mark = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    words = "".join(letter if letter.isalnum() else "_" for letter in name.lower())
    return runs_dir / f"{words}_{mark}"


def trained(runs_dir, name, program, flags, *, data_dir=None, output="run_dir"):
    """The directory of a finished run of a training program, which is started where it is not.

    Args:
        runs_dir, name: see `cell_directory`.
        program: as "trainers.train_multi_exit".
        flags: dictionary of its flags, paths of other cells among them; those that are None are
            left out.
        data_dir: its flag of that name, which does not change the outcome.
        output: its flag that names the directory.

    Raises:
        InputError: the training did not end well.
    """
    flags = {flag: value for flag, value in flags.items() if value is not None}
    # By its name, the run of another cell is the same wherever the folder is.
    settings = {
        flag: value.name if isinstance(value, pathlib.Path) else value
        for flag, value in flags.items()
    }
    run_dir = cell_directory(runs_dir, name, {"program": program, **settings})
    if has_report(run_dir):
        return run_dir
    if (run_dir / "model.keras").exists():
        program, flags = "trainers.evaluate", {"run_dir": run_dir}
    else:
        flags |= {output: run_dir, "resume": (run_dir / "config.json").exists()}
    if data_dir is not None:
        flags["data_dir"] = data_dir
    given = [f"--{flag}={_text(value)}" for flag, value in flags.items()]
    print(f"\n{program} {' '.join(given)}", flush=True)
    if subprocess.run([sys.executable, "-m", program, *given], check=False).returncode:
        raise InputError(f"Every training must end well. Received: one that did not, {run_dir}.")
    return run_dir


def _text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)
