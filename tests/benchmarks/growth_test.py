import csv

import numpy as np
import pytest

from benchmarks.growth_figure import growth_figure
from benchmarks.growth_points import PATHS, Point, measure, prepare
from tests.trainers.programs import refused, rows, run_program
from tf_adaptive.processor import told_processor

GROWTH = "benchmarks.growth"
TINY = {"exits": 2, "depth": 1, "resolution": 8, "classes": 3}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    directory = tmp_path_factory.mktemp("network")
    return prepare(Point(PATHS[0], **TINY).network, directory), directory


@pytest.mark.parametrize("path", PATHS)
def test_a_point_has_the_macs_of_the_exits_that_its_images_left_at(path, prepared):
    found, directory = prepared
    batch = 1 if "LiteRT" in path else 32
    measured = measure(Point(path, batch=batch, **TINY), found, directory, calls=1)
    # Half of the pictures leave at the first of two exits.
    expected = np.mean(found.lazy_macs) if "early exit" in path else found.lazy_macs[1]
    assert found.lazy_macs[0] < 0.9 * found.lazy_macs[1]
    assert measured.macs == pytest.approx(expected)
    assert measured.milliseconds > 0
    assert measured.cpu_milliseconds > 0


def test_points_of_one_network_share_what_is_prepared():
    small, large = (Point(PATHS[0], batch=batch) for batch in (1, 16))
    assert small.network == large.network == Point(PATHS[3], batch=1, threads=2).network
    assert Point(PATHS[0], classes=3).network != small.network != Point(PATHS[0], batch=65).network


def test_measures_each_point_and_writes_table_and_figure(tmp_path):
    output = tmp_path / "growth"
    finished = run_program(
        *(GROWTH, "--axes", "exits", "--exits", "3,2", "--paths", "whole network"),
        *("--repeats", "1", "--output", output),
    )
    assert finished.status == 0, finished.stderr
    table = rows(output / "growth.csv")
    assert [row["value"] for row in table] == ["2", "3"]
    for row in table:
        assert float(row["ms_per_image"]) > 0
        assert float(row["cpu_ms_per_image"]) > 0
        # A network of half a million parameters and more, which a process holds with its graph.
        assert 2 < float(row["memory_mb"]) < 2000
    assert float(table[0]["macs_per_image"]) < 0.8 * float(table[1]["macs_per_image"])
    assert sorted(file.name for file in output.iterdir()) == ["growth.csv", "growth.png"]
    assert told_processor() in finished.stdout


@pytest.fixture
def measured_before(tmp_path):
    """A folder with a table, in which an image of a batch of 4 takes half as long as one alone."""
    sizes = {"images": 64, "exits": 5, "depth": 2, "resolution": 32, "classes": 10, "threads": 1}
    table = [
        {
            **{"axis": "batch", "value": batch, "path": "whole network"},
            **{"ms_per_image": milliseconds, "cpu_ms_per_image": 4, "memory_mb": 10 * batch},
            "macs_per_image": "4e+07",
            **{"batch": batch, **sizes, "repeats": 5, "processor": told_processor()},
        }
        for batch, milliseconds in ((1, 8), (4, 4), (16, 4))
    ]
    path = tmp_path / "growth" / "growth.csv"
    path.parent.mkdir()
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    return path


def test_keeps_what_was_measured_and_tells_powers(measured_before):
    text = measured_before.read_text()
    finished = run_program(
        *(GROWTH, "--axes", "batch", "--batch", "1,4,16", "--paths", "whole network"),
        *("--resume", "--output", measured_before.parent),
    )
    assert finished.status == 0, finished.stderr
    assert measured_before.read_text() == text
    powers = [line.split()[-3:] for line in finished.stdout.splitlines() if "whole network" in line]
    assert powers[1:] == [["0.50*", "1.00", "1.00"], ["1.00", "1.00", "1.00"]]


def test_the_figure_has_a_panel_of_time_and_of_memory_for_each_axis(measured_before):
    table = rows(measured_before)
    figure = growth_figure([*table, *({**row, "axis": "classes"} for row in table)])
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == 4
    # As its last value, for an image takes the same MACs in every batch.
    measured, proportional = (line.get_ydata() for line in panels[0].lines[:2])
    assert list(measured) == [8, 4, 4]
    assert list(proportional) == [4, 4, 4]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--axes", "batches"], "Did you mean 'batch'?"),
        (["--paths", "LiteRt"], "`paths` must be one of training,"),
        (["--batch", "8"], "`batch` must be two numbers or more. Received: --batch=8."),
        (["--batch", "8,many"], "`batch` must be whole numbers"),
        (["--exits", "1,5"], "`exits` must be a whole number from 2 on. Received: exits=1."),
        (["--axes", "batch", "--paths", "LiteRT"], "`paths` must have one that the axes are"),
        (["--repeats", "0"], "`repeats` must be a whole number from 1 on."),
    ],
)
def test_refuses(tmp_path, arguments, words):
    assert words in refused(tmp_path, GROWTH, "--output", tmp_path / "growth", *arguments)


def test_refuses_a_table_that_it_would_lose(measured_before):
    output = measured_before.parent
    assert "no growth.csv yet" in refused(output, GROWTH, "--output", output)
    for arguments in (["--repeats", "7"], []):
        line = refused(output, GROWTH, "--output", output, "--resume", *arguments)
        assert "must be of this program, this processor" in line
        # The second time it is damaged.
        measured_before.write_bytes(measured_before.read_bytes()[:-40] + b"\xff")
