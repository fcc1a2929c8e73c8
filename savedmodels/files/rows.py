"""Answers as files of rows: JSON lines, CSV or Parquet."""

import csv
import json

from tf_adaptive.extras import lazily

pyarrow = lazily("pyarrow", extra="parquet")
parquet = lazily("pyarrow.parquet", extra="parquet")

FORMATS = ("jsonl", "csv", "parquet")


def write_rows(path, rows, columns, kind):
    """Writes rows into a file.

    Args:
        path: where to.
        rows: list of dictionaries.
        columns: their keys, in order.
        kind: one of `FORMATS`.
    """
    if kind == "parquet":
        table = {column: [row[column] for row in rows] for column in columns}
        parquet.write_table(pyarrow.table(table), path)
        return
    with open(path, "w", encoding="utf-8", newline="", errors="surrogateescape") as file:
        if kind == "jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
