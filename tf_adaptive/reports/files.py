"""Tables and figures in a folder, all whole or none."""

import csv
import os

from tf_adaptive.errors import InputError
from tf_adaptive.files import unfinished_folder


def check_directory(directory):
    """Refuses a report's `directory` that is a file."""
    if os.path.exists(directory) and not os.path.isdir(directory):
        raise InputError(
            f"`directory` must be a folder. Received: the file {os.fspath(directory)!r}."
        )


def put_in_place(directory, tables, figures):
    """Writes tables and figures into a folder, each whole; where one fails, none.

    Args:
        directory: the folder, made when missing.
        tables: dict from file name to a list of dicts from column to text or number.
        figures: dict from file name to `matplotlib.figure.Figure`.
    """
    os.makedirs(directory, exist_ok=True)
    with unfinished_folder(directory) as unfinished:
        for name, table in tables.items():
            _write_csv(os.path.join(unfinished, name), table)
        for name, figure in figures.items():
            figure.savefig(os.path.join(unfinished, name), dpi=200)
        for name in sorted(os.listdir(unfinished)):
            os.replace(os.path.join(unfinished, name), os.path.join(directory, name))


def _write_csv(path, table):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
