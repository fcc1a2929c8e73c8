"""What the report of a pruned run says of its zeros."""

import dataclasses
import pathlib

from tf_adaptive.compression.sparsity import dense_gzip_size, gzip_size, sparsity
from tf_adaptive.reports.files import put_in_place


def report_sparsity(run_dir, model):
    """Writes `report/sparsity.csv` and `report/file_size.csv`, and prints their totals.

    Args:
        run_dir: directory of the finished run.
        model: its model.
    """
    path = pathlib.Path(run_dir) / "model.keras"
    rows = sparsity(model)
    size, compressed, dense = path.stat().st_size, gzip_size(path), dense_gzip_size(model)
    put_in_place(
        path.parent / "report",
        tables={
            "sparsity.csv": [dataclasses.asdict(row) for row in rows],
            "file_size.csv": [
                {"network": "dense", "bytes": size, "gzip_bytes": dense},
                {"network": "pruned", "bytes": size, "gzip_bytes": compressed},
            ],
        },
        figures={},
    )
    total = rows[-1]
    print(
        f"\n{total.zeros:,} of {total.weights:,} weights of the kernels are 0: "
        f"{100 * total.zeros / total.weights:.2f} %. model.keras has {size / 1e6:.2f} MB and "
        f"{compressed / 1e6:.2f} MB after gzip; with no zeros, {dense / 1e6:.2f} MB."
    )
