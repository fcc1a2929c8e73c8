"""What the report of a network with exits says of measured times."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.exits import plots
from tf_adaptive.exits.early_exit import EarlyExit
from tf_adaptive.exits.static_comparison import Classified, static_line
from tf_adaptive.exits.timing import milliseconds_of, runs_to_exits
from tf_adaptive.reports.files import put_in_place
from tf_adaptive.runs.tables import LATENCY_TABLE

LATENCY_FIGURE = "accuracy_against_latency.png"
ENGINES = ("tensorflow", "litert")

# Images that are timed, and calls at least and at most; each has another batch while there are any.
_TIMED_IMAGES, _LEAST_CALLS, _MOST_CALLS = 2560, 40, 200
_EARLY_EXIT = "early exit"


@dataclasses.dataclass(frozen=True)
class Latency:
    """How times are measured.

    Attributes:
        batch_sizes: images in a batch, one or more numbers.
        threads: of the processor; None for what TensorFlow takes, in LiteRT one.
        engine: "tensorflow" or "litert".
    """

    batch_sizes: tuple[int, ...] = (1,)
    threads: int | None = None
    engine: str = "tensorflow"

    def __post_init__(self):
        check_choice("engine", self.engine, ENGINES)
        for batch_size in self.batch_sizes:
            check_whole("batch_size", batch_size, least=1)
        if self.threads is not None:
            check_whole("threads", self.threads, least=1)
        if self.engine == "litert" and set(self.batch_sizes) != {1}:
            raise InputError(
                "`batch_size` must be 1 for LiteRT, which converted networks run in. "
                f"Received: batch_size={self.batch_sizes}."
            )


@dataclasses.dataclass(frozen=True)
class Timed:
    """A network whose time is told.

    Attributes:
        name: what it is, in words.
        run: function of a batch of images.
        batches: function of a batch size and a number to so many batches of test images, as `run`
            takes them, or as many as there are.
        accuracy_percent: on the test images.
        right: for each of them, whether it is right; None for what is no static network.
        exit: its number, of the network to one of its exits; None for others.
        macs: multiply-accumulates per image; None where images differ.
    """

    name: str
    run: Callable
    batches: Callable
    accuracy_percent: float
    right: np.ndarray | None = None
    exit: int | None = None
    macs: int | None = None


def timed_exits(model, dataset, anytime_rows, point, accuracy_percent, runs=None):
    """The network to each exit, and of several exits with early exit, batch norms folded.

    Args:
        model: functional `keras.Model` with K exits.
        dataset: its `ImageDataset`.
        anytime_rows: what `write_report` gave.
        point: `OperatingPoint` that early exit has.
        accuracy_percent: what that gives on the test images.
        runs: `(exits, early_exit)`, functions of a picture that do the same elsewhere; None for
            TensorFlow.

    Returns:
        List of `Timed`: the exits in order, and early exit.
    """
    if runs is None:
        folded = fold_batch_norm(model)
        to_exits = runs_to_exits(folded)
        early_exit = EarlyExit(folded, point, constant_weights=True) if len(to_exits) > 1 else None
        batches = functools.partial(_batches, dataset)
    else:
        to_exits, early_exit = runs
        batches = functools.partial(_pictures, dataset)
    names = [f"exit {row.exit}" for row in anytime_rows]
    if len(names) > 1:
        names[-1] += ", the whole network"
    timed = [
        Timed(name, run, batches, row.accuracy_percent, exit=row.exit, macs=row.macs)
        for name, row, run in zip(names, anytime_rows, to_exits, strict=True)
    ]
    if len(names) > 1:
        timed.append(Timed(_EARLY_EXIT, early_exit, batches, accuracy_percent))
    return timed


def timed_static(model, dataset, classified):
    """A static network, its batch norms folded.

    Args:
        model: functional `keras.Model` with one exit.
        dataset: its `ImageDataset`.
        classified: `Classified`, of the test images.
    """
    (run,) = runs_to_exits(fold_batch_norm(model))
    return Timed(
        classified.name,
        run,
        functools.partial(_batches, dataset),
        classified.accuracy_percent,
        classified.right,
        macs=round(classified.macs),
    )


def report_latency(directory, timed, latency):
    """Times networks on test images, batch by batch; writes `latency.csv` and prints it.

    With early exit among them there is `accuracy_against_latency.png` too.

    Args:
        directory: folder of the report.
        timed: list of `Timed`, of the same test images.
        latency: `Latency`.
    """
    table, panels = [], {}
    for batch_size in latency.batch_sizes:
        calls = min(max(_TIMED_IMAGES // batch_size, _LEAST_CALLS), _MOST_CALLS)
        timed_on = [(network.run, network.batches(batch_size, calls)) for network in timed]
        if not timed_on[0][1]:
            continue
        milliseconds = milliseconds_of(timed_on, calls=calls)
        medians = np.median(milliseconds, axis=1)
        percentiles = np.percentile(milliseconds, 95, axis=1)
        table += [
            {
                "batch_size": batch_size,
                "threads": latency.threads or "",
                "engine": latency.engine,
                "network": network.name,
                "exit": network.exit or "",
                "macs": network.macs or "",
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


def _pictures(dataset, batch_size, count):
    """Up to so many test images one by one, as people have them."""
    del batch_size
    return dataset.pictures("test", range(min(count, dataset.sizes["test"])))
