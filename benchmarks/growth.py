"""How time and memory grow with each size: of batches, of the job, of the network, of images.

    python -m benchmarks.growth --output growth

Varies one size at a time around one MSDNet with random weights, which do not change what it costs,
and takes an image's median milliseconds, those that processors computed, which other programs
disturb less, and the most memory of a process that does nothing else: of a training step, of the
whole network with batch norms folded, of early exit with half of the images that reach an exit
leaving there, and of both in LiteRT, which takes one image at a time. Writes growth.csv after each
point, so that --resume continues, and growth.png at the end; prints by which power of a size time,
multiply-accumulates and memory grow from one value to the next, with a star where time does not
follow the multiply-accumulates.
"""

import concurrent.futures
import csv
import dataclasses
import multiprocessing
import os
import pathlib
import sys
import tempfile

import numpy as np
import tqdm
from absl import flags

from benchmarks.growth_figure import growth_figure
from benchmarks.growth_points import (
    PATHS,
    TRAINING,
    Measured,
    Point,
    measure_alone,
    megabytes_at_first,
    prepare,
)
from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.processor import told_processor
from tf_adaptive.programs import program
from tf_adaptive.reports.files import check_directory, put_in_place

_CORES = os.cpu_count() or 1

_AXES = flags.DEFINE_list(
    "axes",
    ["batch", "images", "exits", "depth", "resolution", "classes", "threads"],
    "sizes to vary",
)
_PATHS = flags.DEFINE_list("paths", list(PATHS), "what to time: " + ", ".join(PATHS))
_OUTPUT = flags.DEFINE_string("output", "growth", "folder for growth.csv and growth.png")
_RESUME = flags.DEFINE_bool("resume", False, "keep what growth.csv in the folder has")
_REPEATS = flags.DEFINE_integer("repeats", 5, "timed passes of each point")
# The values of each axis, and the fewest that are possible.
_VALUES = {
    "batch": (
        flags.DEFINE_list(
            "batch", [str(2**power) for power in range(10)], "images in a batch, not in LiteRT"
        ),
        1,
    ),
    "images": (
        flags.DEFINE_list(
            "images", ["64", "256", "1024", "4096"], "images of one job, not of training"
        ),
        1,
    ),
    "exits": (flags.DEFINE_list("exits", ["4", "5", "7", "10"], "blocks with an exit"), 2),
    "depth": (flags.DEFINE_list("depth", ["1", "2", "4", "6"], "layers of a block"), 1),
    "resolution": (
        flags.DEFINE_list("resolution", ["32", "64", "128", "224"], "pixels a side"),
        8,
    ),
    "classes": (flags.DEFINE_list("classes", ["10", "100", "1000"], "number of classes"), 2),
    "threads": (
        flags.DEFINE_list(
            "threads",
            [str(2**power) for power in range(_CORES.bit_length()) if 2**power <= _CORES],
            "of TensorFlow or LiteRT",
        ),
        1,
    ),
}

_TABLE = "growth.csv"
# Of `Measured`, in its order.
_NUMBERS = ("ms_per_image", "cpu_ms_per_image", "memory_mb", "macs_per_image")
# How far apart the powers of time and of multiply-accumulates are that count as one.
_APART = 0.15


def main():
    points = _points()
    check_whole("repeats", _REPEATS.value, least=1)
    check_directory(_OUTPUT.value)
    kept = _kept_rows()
    print(f"{told_processor()}; where not varied, {_told_sizes(Point(PATHS[0]))}")
    if "batch" in _AXES.value:
        print("batch: not in LiteRT, which takes one image at a time")
    if "images" in _AXES.value:
        print("images: not of training, where a pass is a step")
    known = {_point_of(row): _measured_of(row) for row in kept.values()}
    for point, measured in _measure_all([p for p in points.values() if p not in known]):
        known[point] = measured
        table = _in_order(kept | _rows_of_known(points, known))
        put_in_place(_OUTPUT.value, {_TABLE: table}, {})
    table = _in_order(kept | _rows_of_known(points, known))
    put_in_place(_OUTPUT.value, {_TABLE: table}, {"growth.png": growth_figure(table)})
    _print_table(table)


def _points():
    """The point of each `(axis, value, path)`."""
    for axis in _AXES.value:
        check_choice("axes", axis, _VALUES)
    for path in _PATHS.value:
        check_choice("paths", path, PATHS)
    points = {}
    for axis, (flag, least) in _VALUES.items():
        if axis not in _AXES.value:
            continue
        values = sorted(set(program.numbers(flag, int)))
        if len(values) < 2:
            raise InputError(
                f"`{axis}` must be two numbers or more. Received: --{axis}={','.join(flag.value)}."
            )
        for value in values:
            check_whole(axis, value, least=least)
            for path in PATHS:
                if path in _PATHS.value and _has(axis, path):
                    points[axis, value, path] = _point(axis, value, path)
    if not points:
        raise InputError(
            "`paths` must have one that the axes are measured of. "
            f"Received: --axes={','.join(_AXES.value)} --paths={','.join(_PATHS.value)}."
        )
    return points


def _has(axis, path):
    if axis == "batch":
        return not Point(path).runs_in_litert
    return axis != "images" or path != TRAINING


def _point(axis, value, path):
    point = dataclasses.replace(Point(path), **{axis: value})
    return dataclasses.replace(point, batch=1) if point.runs_in_litert else point


def _measure_all(points):
    """Pairs of a point and what it costs, each once and in a process of its own."""
    points = list(dict.fromkeys(points))
    if not points:
        return
    processes = multiprocessing.get_context("forkserver")
    # A process begins with these loaded, and with no thread started.
    processes.set_forkserver_preload(["benchmarks.growth_points", "ai_edge_litert.interpreter"])
    with (
        tqdm.tqdm(total=len(points), unit=" points", disable=not sys.stderr.isatty()) as bar,
        tempfile.TemporaryDirectory() as folder,
        concurrent.futures.ProcessPoolExecutor(1, processes, max_tasks_per_child=1) as pool,
    ):
        at_first = pool.submit(megabytes_at_first).result()
        with bar.external_write_mode():
            print(f"MB are above the {at_first:.0f} of a process that only imported", flush=True)
        in_litert = {point.network for point in points if point.runs_in_litert}
        prepared = {}
        for point in points:
            network = point.network
            directory = None
            if network in in_litert:
                directory = pathlib.Path(folder, "_".join(map(str, _sizes(network).values())))
            try:
                if network not in prepared:
                    prepared[network] = pool.submit(prepare, network, directory).result()
                measured = pool.submit(
                    measure_alone, point, prepared[network], directory, calls=_REPEATS.value
                ).result()
            except concurrent.futures.process.BrokenProcessPool:
                raise MemoryError(
                    f"a process that was killed, of {point.path} at {_told_sizes(point)}; go on "
                    "with --resume"
                ) from None
            bar.update()
            yield point, measured


def _sizes(point):
    return {name: value for name, value in dataclasses.asdict(point).items() if name != "path"}


def _told_sizes(point):
    return ", ".join(f"{name} {value}" for name, value in _sizes(point).items())


def _rows_of_known(points, known):
    """By `(axis, value, path)`, as `points`."""
    return {key: _row(*key, point, known[point]) for key, point in points.items() if point in known}


def _row(axis, value, path, point, measured):
    numbers = dataclasses.astuple(measured)
    return {
        "axis": axis,
        "value": value,
        "path": path,
        **{name: f"{number:.6g}" for name, number in zip(_NUMBERS, numbers, strict=True)},
        **_sizes(point),
        "repeats": _REPEATS.value,
        "processor": told_processor(),
    }


def _kept_rows():
    """Those of the folder's table by `(axis, value, path)`, which must be of these settings."""
    path = pathlib.Path(_OUTPUT.value, _TABLE)
    if not path.exists():
        return {}
    if not _RESUME.value:
        raise InputError(
            f"`output` must have no {_TABLE} yet; --resume keeps what it has. "
            f"Received: {_OUTPUT.value}."
        )
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = {
                (row["axis"], int(row["value"]), row["path"]): row for row in csv.DictReader(file)
            }
        is_same = all(map(_is_of_these_settings, rows, rows.values()))
    except (csv.Error, KeyError, TypeError, ValueError):
        is_same = False
    if not is_same:
        raise InputError(
            f"{_TABLE} in `output` must be of this program, this processor and "
            f"--repeats={_REPEATS.value} for --resume. Received: {path}."
        )
    return rows


def _is_of_these_settings(key, row):
    axis, _, path = key
    if axis not in _VALUES or path not in PATHS:
        return False
    same = _row(*key, _point(*key), _measured_of(row))
    return row == {name: str(entry) for name, entry in same.items()}


def _point_of(row):
    return _point(row["axis"], int(row["value"]), row["path"])


def _measured_of(row):
    return Measured(*(float(row[name]) for name in _NUMBERS))


def _in_order(rows):
    places = {axis: place for place, axis in enumerate(_VALUES)}
    keys = sorted(rows, key=lambda key: (places[key[0]], PATHS.index(key[2]), key[1]))
    return [rows[key] for key in keys]


def _print_table(rows):
    print(
        f"{'axis':<10} {'path':<17} {'value':>5} {'ms an image':>11} {'of CPU':>7} {'MB':>7} "
        f"{'M MACs':>8}"
        "   powers of time, MACs, memory from the value before"
    )
    before = None
    for row in rows:
        powers = ""
        if before is not None and (before["axis"], before["path"]) == (row["axis"], row["path"]):
            powers = _told_powers(before, row)
        milliseconds, cpu_milliseconds, megabytes, macs = (float(row[name]) for name in _NUMBERS)
        print(
            f"{row['axis']:<10} {row['path']:<17} {row['value']:>5} {milliseconds:>11.3f} "
            f"{cpu_milliseconds:>7.3f} {megabytes:>7.0f} {macs / 1e6:>8.2f}   {powers}".rstrip()
        )
        before = row
    print("* time does not follow the MACs; of more threads, it falls less than they are more")


def _told_powers(before, row):
    axis = row["axis"]
    growth = np.log(int(row["value"]) / int(before["value"]))
    time, _, memory, macs = (np.log(float(row[n]) / float(before[n])) / growth for n in _NUMBERS)
    if axis in ("batch", "images"):
        # Of all of them together.
        time, macs = time + 1, macs + 1
    if axis == "threads":
        # Of each.
        macs -= 1
    star = "*" if abs(time - macs) > _APART else " "
    return f"{time:>6.2f}{star}{macs:>6.2f} {memory:>6.2f}"


if __name__ == "__main__":
    program.run(main, needs=("report", "tflite"))
