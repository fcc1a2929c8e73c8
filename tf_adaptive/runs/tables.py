"""The tables of a run's report, read."""

import csv
import dataclasses
import pathlib

from tf_adaptive.errors import InputError
from tf_adaptive.exits import report as exits_report
from tf_adaptive.exits.latency import latency_rows
from tf_adaptive.routing import report as routing_report

LATENCY_TABLE = "latency.csv"


def read_report(run_dir, table):
    """The rows of a run's report, a dictionary of texts each.

    Args:
        run_dir: directory of a run.
        table: its name, as "anytime" or "budgeted".

    Raises:
        InputError: the run has no report.
    """
    path = pathlib.Path(run_dir) / "report" / f"{table}.csv"
    if not path.is_file():
        raise InputError(
            f"The run must have a report of this version: run trainers.evaluate. Missing: {path}."
        )
    return read_csv(path)


def read_csv(path):
    """The rows of a table, a dictionary of texts each."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_exit_report(run_dir, num_exits):
    """What the report of a network with exits says, see `tf_adaptive.exits.report.rows_of_tables`.

    Args:
        run_dir: directory of a finished run.
        num_exits: K of its network.

    Raises:
        InputError: the run has no report, or that of another network.
    """
    anytime_table, budget_table = (read_report(run_dir, name) for name in ("anytime", "budgeted"))
    more = []
    if num_exits > 1:
        more = [read_report(run_dir, name) for name in ("optimal", "promise")]
    if len(anytime_table) != num_exits:
        raise InputError(
            f"The report of the run must have a row for each exit of its network, {num_exits}: run "
            f"trainers.evaluate again. Received: {len(anytime_table)} rows."
        )
    rows = exits_report.rows_of_tables(anytime_table, budget_table, *more)
    if (pathlib.Path(run_dir) / "report" / LATENCY_TABLE).is_file():
        times = read_csv(pathlib.Path(run_dir) / "report" / LATENCY_TABLE)
        rows = dataclasses.replace(rows, latencies=latency_rows(times, rows.anytime))
    return rows


def read_routing_report(run_dir):
    """What the report of a DRNet says, see `tf_adaptive.routing.report.rows_of_tables`.

    Args:
        run_dir: directory of a finished run.

    Raises:
        InputError: the run has no report, or a damaged one.
    """
    tables = [read_report(run_dir, name) for name in ("resolutions", "comparison")]
    # Reports of former versions have none.
    if (pathlib.Path(run_dir) / "report" / "calibration.csv").is_file():
        tables.append(read_report(run_dir, "calibration"))
    return routing_report.rows_of_tables(*tables)
