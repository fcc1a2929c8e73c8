"""Answers as files of rows: JSON lines, CSV or Parquet."""

import csv
import io
import json

from tf_adaptive.extras import lazily

pyarrow = lazily("pyarrow", extra="parquet")
parquet = lazily("pyarrow.parquet", extra="parquet")

FORMATS = ("jsonl", "csv", "parquet")


def columns_of(kind):
    """Of answers, in order; `kind` is "exit" or "resolution"."""
    return ("path", "class", "label", "confidence", kind)


def write_rows(path, rows, columns, kind):
    """Writes rows into a file.

    Args:
        path: where to.
        rows: list of dictionaries.
        columns: their keys, in order.
        kind: one of `FORMATS`.
    """
    if kind == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows, parquet_schema(columns)), path)
        return
    with open(path, "w", encoding="utf-8", newline="", errors="surrogateescape") as file:
        if kind == "jsonl":
            lines = map(json.dumps, rows)
        else:
            lines = [csv_head(columns), *(csv_line(row, columns) for row in rows)]
        file.writelines(f"{line}\n" for line in lines)


def csv_head(columns):
    """The first line of a CSV file."""
    return ",".join(columns)


def csv_line(row, columns):
    """A row's line of a CSV file."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([row[column] for column in columns])
    return line.getvalue()


def parquet_schema(columns):
    """The types of columns of `columns_of`."""
    texts, numbers = ("path", "label"), ("confidence",)
    return pyarrow.schema(
        [
            (
                column,
                pyarrow.string()
                if column in texts
                else pyarrow.float64()
                if column in numbers
                else pyarrow.int64(),
            )
            for column in columns
        ]
    )
