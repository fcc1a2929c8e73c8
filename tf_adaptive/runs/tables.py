"""The tables of a run's report, read."""

import csv
import pathlib

from tf_adaptive.errors import InputError


def read_report(run_dir, table):
    """The rows of a run's report, a dictionary of texts each.

    Args:
        run_dir: directory of a run.
        table: "anytime" or "budgeted".

    Raises:
        InputError: the run has no report.
    """
    path = pathlib.Path(run_dir) / "report" / f"{table}.csv"
    if not path.is_file():
        raise InputError(f"The run must have a report: run trainers.evaluate. Missing: {path}.")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
