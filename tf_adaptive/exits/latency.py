"""What leaving at each exit takes in milliseconds, and what that makes of an operating point."""

import dataclasses

import numpy as np

from tf_adaptive.errors import InputError


@dataclasses.dataclass(frozen=True)
class LatencyRow:
    """The time of an image that leaves at an exit, measured somewhere.

    Attributes:
        exit: counted from 1.
        macs: multiply-accumulates up to this exit, by which the network is known again.
        median_ms, percentile_95_ms: milliseconds per image.
    """

    exit: int
    macs: int
    median_ms: float
    percentile_95_ms: float


def latency_rows(table, anytime_rows):
    """The times that a `latency.csv` holds of a network's exits, at its first batch size.

    Args:
        table: its rows, dictionaries from column to text: "exit", "macs", "median_ms",
            "percentile_95_ms" and, where it is not 1, "batch_size"; rows without an exit are of
            other networks.
        anytime_rows: a list of `AnytimeRow`, of the network.

    Returns:
        A list of `LatencyRow`, one per exit.

    Raises:
        InputError: columns are missing or no numbers, or the exits are those of another network.
    """
    try:
        of_exits = [row for row in table if row["exit"]]
        sizes = [int(row.get("batch_size") or 1) for row in of_exits]
        rows = [
            LatencyRow(
                exit=int(row["exit"]),
                macs=int(row["macs"]),
                median_ms=float(row["median_ms"]) / size,
                percentile_95_ms=float(row["percentile_95_ms"]) / size,
            )
            for row, size in zip(of_exits, sizes, strict=True)
            if size == sizes[0]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "A table of times must have the columns exit, macs, median_ms and percentile_95_ms, a "
            f"row for each exit. Received: one that has not ({error})."
        ) from error
    ours = [(row.exit, row.macs) for row in anytime_rows]
    theirs = [(row.exit, row.macs) for row in rows]
    if ours != theirs:
        raise InputError(
            "A table of times must be of this network, whose exits and MACs are "
            f"{_in_words(ours)}. Received: {_in_words(theirs)}."
        )
    times = [time for row in rows for time in (row.median_ms, row.percentile_95_ms)]
    if not all(np.isfinite(time) and time > 0 for time in times):
        raise InputError(f"Times must be above 0 milliseconds. Received: {times}.")
    return rows


def mean_ms(shares, latencies):
    """Mean milliseconds per image, of the shares of images that leave at each exit."""
    return float(np.dot(shares, [row.median_ms for row in latencies]))


def percentile_95_ms(shares, latencies):
    """Milliseconds that 95 % of the images take at most: of the exit by which so many have left."""
    left = np.cumsum(shares)
    # Shares of images add up to 1 but for rounding.
    place = min(int(np.searchsorted(left, 0.95 - 1e-9)), len(latencies) - 1)
    return latencies[place].percentile_95_ms


def _in_words(exits):
    return ", ".join(f"{number}: {macs:,}" for number, macs in exits) or "none"
