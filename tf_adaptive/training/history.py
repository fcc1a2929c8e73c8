"""The numbers of each epoch, as a CSV file and for TensorBoard."""

import csv

import tensorflow as tf

from tf_adaptive.errors import InputError
from tf_adaptive.files import replaced_whole


class History:
    """`history.csv`, a row per epoch, and the same numbers as TensorBoard scalars.

    Args:
        run_dir: `pathlib.Path`; gets `history.csv` and the folder `tensorboard`.
        epochs: how many rows of a `history.csv` that is there to keep. A training killed
            between its history and its checkpoint has a row too many and repeats that epoch.

    Raises:
        InputError: `history.csv` is missing or has fewer rows.
    """

    def __init__(self, run_dir, epochs):
        self._path = run_dir / "history.csv"
        self._rows = _read_rows(self._path, epochs) if epochs else []
        self._tensorboard_dir = run_dir / "tensorboard"
        self._writer = None

    def append(self, row):
        """Adds one epoch.

        Args:
            row: dict of column names to numbers; "epoch" counts from 1.
        """
        self._rows.append(row)
        with replaced_whole(self._path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows(self._rows)
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self._tensorboard_dir))
        with self._writer.as_default(step=row["epoch"]):
            for name, value in row.items():
                if name != "epoch":
                    tf.summary.scalar(name, value)
        self._writer.flush()


def read_last_row(run_dir):
    """The last epoch's numbers of a training, a dict of column names to floats.

    Args:
        run_dir: `pathlib.Path` of a run that has trained for an epoch.
    """
    with (run_dir / "history.csv").open(newline="") as file:
        *_, last = csv.DictReader(file)
    return {name: float(text) for name, text in last.items()}


def _read_rows(path, epochs):
    rows = []
    if path.is_file():
        with path.open(newline="", errors="replace") as file:
            rows = list(csv.DictReader(file))[:epochs]
    if [row.get("epoch") for row in rows] != [str(epoch + 1) for epoch in range(epochs)]:
        raise InputError(
            f"The history must hold the {epochs} epochs of the checkpoint. "
            f"Received: {path}, which does not; train in a new directory."
        )
    return rows
