"""What the report of a network with exits says of measured times."""

import dataclasses
from collections.abc import Callable

import numpy as np

from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.data import ImageDataset
from tf_adaptive.exits import plots
from tf_adaptive.exits.early_exit import EarlyExit
from tf_adaptive.exits.static_comparison import Classified, static_line
from tf_adaptive.exits.timing import milliseconds_of, runs_to_exits
from tf_adaptive.reports.files import put_in_place

LATENCY_TABLE = "latency.csv"
LATENCY_FIGURE = "accuracy_against_latency.png"

# Calls that are timed, by images in a batch; each call has another batch while there are any.
_CALLS = {1: 200, 64: 40}
_EARLY_EXIT = "early exit"


@dataclasses.dataclass(frozen=True)
class Timed:
    """A network whose time is told.

    Attributes:
        name: what it is, in words.
        run: function of a batch of images.
        dataset: `ImageDataset`, as the network takes its images.
        accuracy_percent: on the test images.
        right: for each of them, whether it is right; None for what is no static network.
    """

    name: str
    run: Callable
    dataset: ImageDataset
    accuracy_percent: float
    right: np.ndarray | None = None


def timed_exits(model, dataset, anytime_rows, near, measure):
    """The network to each exit, and of several exits with early exit, batch norms folded.

    Args:
        model: functional `keras.Model` with K exits.
        dataset: its `ImageDataset`.
        anytime_rows: what `write_report` gave.
        near: the budget whose thresholds early exit has.
        measure: of the thresholds.

    Returns:
        List of `Timed`: the exits in order, and early exit.
    """
    folded = fold_batch_norm(model)
    names = [f"exit {row.exit}" for row in anytime_rows]
    if len(names) > 1:
        names[-1] += ", the whole network"
    timed = [
        Timed(name, run, dataset, row.accuracy_percent)
        for name, row, run in zip(names, anytime_rows, runs_to_exits(folded), strict=True)
    ]
    if len(names) > 1:
        early_exit = EarlyExit(folded, near.thresholds, measure=measure)
        timed.append(Timed(_EARLY_EXIT, early_exit, dataset, near.accuracy_percent))
    return timed


def timed_static(model, dataset, classified):
    """A static network, its batch norms folded.

    Args:
        model: functional `keras.Model` with one exit.
        dataset: its `ImageDataset`.
        classified: `Classified`, of the test images.
    """
    (run,) = runs_to_exits(fold_batch_norm(model))
    return Timed(classified.name, run, dataset, classified.accuracy_percent, classified.right)


def report_latency(directory, timed):
    """Times networks on test images, batch by batch; writes `latency.csv` and prints it.

    With early exit among them there is `accuracy_against_latency.png` too.

    Args:
        directory: folder of the report.
        timed: list of `Timed`, of the same test images.
    """
    table, panels = [], {}
    for batch_size, calls in _CALLS.items():
        if timed[0].dataset.sizes["test"] < batch_size:
            continue
        milliseconds = milliseconds_of(
            [(network.run, _batches(network.dataset, batch_size, calls)) for network in timed],
            calls=calls,
        )
        medians = np.median(milliseconds, axis=1)
        percentiles = np.percentile(milliseconds, 95, axis=1)
        table += [
            {
                "batch_size": batch_size,
                "network": network.name,
                "accuracy_percent": f"{network.accuracy_percent:.4f}",
                "median_ms": f"{median:.4f}",
                "percentile_95_ms": f"{percentile:.4f}",
                "median_ms_per_image": f"{median / batch_size:.4f}",
            }
            for network, median, percentile in zip(timed, medians, percentiles, strict=True)
        ]
        panels[batch_size] = _panel(timed, medians, percentiles)
    figures = {}
    if any(network.name == _EARLY_EXIT for network in timed):
        figures[LATENCY_FIGURE] = plots.accuracy_against_latency(panels)
    put_in_place(directory, tables={LATENCY_TABLE: table}, figures=figures)
    width = max(len(network.name) for network in timed)
    print(f"\n{'batch':>5}  {'':<{width}} {'median ms':>10} {'95th percentile':>16}")
    for row in table:
        print(
            f"{row['batch_size']:>5}  {row['network']:<{width}} {float(row['median_ms']):>10.2f} "
            f"{float(row['percentile_95_ms']):>16.2f}"
        )


def _panel(timed, medians, percentiles):
    """What `plots.accuracy_against_latency` draws of a batch size."""
    exits, static, early_exit = [], [], None
    for network, times in zip(timed, zip(medians, percentiles, strict=True), strict=True):
        row = (network.name, times, network.accuracy_percent)
        if network.right is not None:
            static.append((row, Classified(network.name, times[0], network.right)))
        elif network.name == _EARLY_EXIT:
            early_exit = row
        else:
            exits.append((len(exits) + 1, *row[1:]))
    line = [network.name for network in static_line([classified for _, classified in static])]
    return exits, early_exit, [row for row, _ in static], line


def _batches(dataset, batch_size, count):
    """Up to so many batches of test images, all of the size asked for."""
    count = min(count, dataset.sizes["test"] // batch_size)
    return [images for images, _ in dataset.batches("test", batch_size).take(count)]
