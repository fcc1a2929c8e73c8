import numpy as np
import pytest

from tf_adaptive.errors import InputError
from tf_adaptive.exits.evaluation import AnytimeRow
from tf_adaptive.exits.latency import latency_rows, mean_ms, percentile_95_ms

ANYTIME = [AnytimeRow(k, 100 * k, 100 * k, k, accuracy_percent=50.0) for k in (1, 2, 3)]


def table(**changes):
    rows = [
        {"batch_size": "4", "exit": str(k), "macs": str(100 * k), "network": f"exit {k}"}
        | {"median_ms": str(8 * k), "percentile_95_ms": str(12 * k)}
        for k in (1, 2, 3)
    ]
    early = {**rows[0], "exit": "", "macs": "", "network": "early exit"}
    larger = [{**row, "batch_size": "64"} for row in rows]
    return [{**row, **changes} for row in rows] + [early, *larger]


def test_times_are_of_an_image_at_the_first_batch_size():
    rows = latency_rows(table(), ANYTIME)
    assert [(row.exit, row.median_ms, row.percentile_95_ms) for row in rows] == [
        *((1, 2.0, 3.0), (2, 4.0, 6.0), (3, 6.0, 9.0))
    ]
    assert mean_ms((0.5, 0.25, 0.25), rows) == 0.5 * 2 + 0.25 * 4 + 0.25 * 6


@pytest.mark.parametrize(
    ("shares", "exit"),
    [((0.96, 0.04, 0.0), 1), ((0.95, 0.05, 0.0), 1), ((0.9, 0.06, 0.04), 2), ((0.5, 0.4, 0.1), 3)],
)
def test_95_percent_of_the_images_have_left(shares, exit):
    rows = latency_rows(table(), ANYTIME)
    assert percentile_95_ms(shares, rows) == rows[exit - 1].percentile_95_ms


def test_other_tables_are_refused():
    with pytest.raises(InputError, match="must be of this network.*1: 100, 2: 200, 3: 300"):
        latency_rows(table(macs="7"), ANYTIME)
    with pytest.raises(InputError, match="must be of this network"):
        latency_rows(table(), ANYTIME[:2])
    with pytest.raises(InputError, match="must be of this network.*Received: none"):
        latency_rows([], ANYTIME)
    with pytest.raises(InputError, match="must have the columns"):
        latency_rows(table(median_ms="fast"), ANYTIME)
    for bad in ("0", "nan", "inf"):
        with pytest.raises(InputError, match="Times must be above 0"):
            latency_rows(table(median_ms=bad), ANYTIME)
    assert np.isfinite(latency_rows(table(), ANYTIME)[0].median_ms)
