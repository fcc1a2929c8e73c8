import os

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.trainers.programs import rows as read_csv
from tf_adaptive.errors import InputError
from tf_adaptive.routing import plots
from tf_adaptive.routing.evaluation import compare_choices
from tf_adaptive.routing.report import RoutingReport, rows_of_tables

FILES = [
    "accuracy_against_mean_macs.png",
    "comparison.csv",
    "images_per_resolution.png",
    "resolutions.csv",
    "smallest_right_resolution.png",
]
ALL_FILES = sorted([*FILES, "accuracy_against_latency.png", "resolution_against_scale.png"])
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 4, 90)
LOGITS = RANDOM.normal(size=(3, 90, 4)).astype("float32") + 2 * np.eye(4)[LABELS]
SCALES = RANDOM.uniform(0.25, 1, 90)
NETWORK = {
    "logits": LOGITS,
    "choices": np.repeat([0, 1, 2], [25, 61, 4])[RANDOM.permutation(90)],
    "labels": LABELS,
    "resolutions": [96, 72, 48],
    "branch_macs": [40_000_000, 20_000_000, 10_000_000],
    "predictor_macs": 1_000_001,
}
MEASURED = {
    "object_scales": SCALES,
    "fixed_milliseconds": [4.0, 2.0, 1.25],
    "routed_milliseconds": 2.5,
}


def pictures(indices):
    return [np.full((8, 8, 1), index, "uint8") for index in indices]


def write(directory, **changes):
    report = RoutingReport(**{**NETWORK, "pictures": pictures, **changes})
    report.write(directory)
    return report


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run") / "deeper" / "report"
    return directory, write(directory, **MEASURED)


def test_report_holds_its_files_and_nothing_else(report):
    directory, written = report
    assert sorted(os.listdir(directory)) == ALL_FILES
    assert (written.resolutions, written.choices) == compare_choices(**NETWORK)
    for name in ALL_FILES:
        if name.endswith(".png"):
            with Image.open(directory / name) as image:
                image.load()
                assert min(image.size) > 800
                assert len(np.unique(np.asarray(image.convert("L")))) > 20


def test_tables_read_back(report):
    directory, written = report
    lines = read_csv(directory / "resolutions.csv")
    columns = (
        "resolution macs accuracy_percent router_share smallest_right_share milliseconds_per_image"
    )
    assert list(lines[0]) == columns.split()
    assert [float(line["milliseconds_per_image"]) for line in lines] == [4.0, 2.0, 1.25]
    for line, row in zip(lines, written.resolutions, strict=True):
        assert (int(line["resolution"]), int(line["macs"])) == (row.resolution, row.macs)
        assert float(line["accuracy_percent"]) == pytest.approx(row.accuracy_percent, abs=1e-4)
        assert float(line["router_share"]) == pytest.approx(row.share, abs=1e-6)

    lines = read_csv(directory / "comparison.csv")
    columns = "choice mean_macs accuracy_percent deviation_points line_percent above_line_points"
    shares = ["share_96", "share_72", "share_48"]
    assert list(lines[0]) == [*columns.split(), *shares, "milliseconds_per_image"]
    assert [line["choice"] for line in lines] == ["router", "random", "uniform"]
    assert [line["milliseconds_per_image"] for line in lines] == ["2.5000", "", ""]
    for line, row in zip(lines, written.choices, strict=True):
        assert int(line["mean_macs"]) == row.mean_macs
        for column in ("accuracy_percent", "deviation_points", "line_percent"):
            assert float(line[column]) == pytest.approx(getattr(row, column), abs=1e-4)
        above = row.accuracy_percent - row.line_percent
        assert float(line["above_line_points"]) == pytest.approx(above, abs=1e-4)
        assert [float(line[share]) for share in shares] == pytest.approx(row.shares, abs=1e-6)


def test_the_choice_reads_back_as_a_point(report):
    directory, written = report
    tables = [read_csv(directory / f"{name}.csv") for name in ("resolutions", "comparison")]
    rows, point = rows_of_tables(*tables)
    expected = written.operating_point()
    assert point.resolutions == expected.resolutions == (96, 72, 48)
    assert point.mean_macs == expected.mean_macs == written.choices[0].mean_macs
    assert point.accuracy_percent == pytest.approx(expected.accuracy_percent, abs=1e-4)
    assert point.shares == pytest.approx(expected.shares, abs=1e-6)
    assert [row.macs for row in rows] == NETWORK["branch_macs"]
    assert point.description()["resolutions"] == [96, 72, 48]
    with pytest.raises(InputError, match="run trainers.evaluate again"):
        rows_of_tables(tables[0], tables[1][1:])


def test_images_are_spaced_evenly_and_captioned_with_their_resolutions_prediction(
    tmp_path, monkeypatch
):
    seen = {}

    def record(grids, class_names, title):
        seen.update(grids=grids, class_names=class_names, title=title)
        return Figure()

    monkeypatch.setattr(plots, "images_per_resolution", record)
    probabilities = np.random.default_rng(1).dirichlet([1, 1, 1], 90)
    router, *_ = write(tmp_path, probabilities=probabilities).choices
    assert f"{router.mean_macs / 1e6:.1f} million" in seen["title"]
    assert f"accuracy {router.accuracy_percent:.1f} %" in seen["title"]
    assert seen["class_names"] == ["0", "1", "2", "3"]
    assert len(seen["grids"]) == 3
    for number, (heading, images) in enumerate(seen["grids"]):
        chosen = np.flatnonzero(NETWORK["choices"] == number)
        predicted = LOGITS[number].argmax(axis=-1)
        accuracy = 100 * np.mean(predicted[chosen] == LABELS[chosen])
        assert heading == (
            f"Seen at {NETWORK['resolutions'][number]} pixels: {len(chosen)} of 90 images, "
            f"{accuracy:.1f} % right"
        )
        positions = [int(picture[0, 0, 0]) for picture, *_ in images]
        assert len(set(positions)) == min(20, len(chosen))
        assert set(positions) <= set(chosen.tolist())
        assert (positions[0], positions[-1]) == (chosen[0], chosen[-1])
        assert [one for _, one, *_ in images] == predicted[positions].tolist()
        assert [true for _, _, true, _ in images] == LABELS[positions].tolist()
        assert [note for *_, note in images] == [
            f"96: {largest:.2f}\n72: {middle:.2f}\n48: {smallest:.2f}"
            for largest, middle, smallest in probabilities[positions]
        ]


def test_a_resolution_that_nobody_needs(tmp_path):
    report = write(tmp_path, choices=np.full(90, 2))
    router, *_ = report.choices
    assert router.shares == (0.0, 0.0, 1.0)
    assert router.accuracy_percent == pytest.approx(report.resolutions[2].accuracy_percent)
    assert sorted(os.listdir(tmp_path)) == FILES


def test_a_new_report_replaces_the_former_with_what_it_lacks(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write(tmp_path, **MEASURED)
    assert sorted(os.listdir(tmp_path)) == sorted([*ALL_FILES, "notes.txt"])
    write(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*FILES, "notes.txt"])
    assert "milliseconds_per_image" not in read_csv(tmp_path / "comparison.csv")[0]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_nothing_is_written_when_a_figure_fails(tmp_path, second_figure_fails):
    (tmp_path / "comparison.csv").write_text("old")
    (tmp_path / "accuracy_against_latency.png").write_text("old")
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path)
    names = ["accuracy_against_latency.png", "comparison.csv"]
    assert sorted(os.listdir(tmp_path)) == names
    assert [(tmp_path / name).read_text() for name in names] == ["old", "old"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"class_names": ["cat"]}, "`class_names` must hold a name for each of the 4"),
        ({"choices": np.full(90, 3)}, r"`choices` must be in \[0, 3\)"),
        ({"branch_macs": [1, 2]}, "`branch_macs` must hold a number for each of the 3"),
        ({"object_scales": SCALES[:80]}, "`choices` must be 80 integers"),
        ({"object_scales": SCALES * 2}, r"`object_scales` must be one number in \(0, 1\]"),
        ({"fixed_milliseconds": [1, 2, 3]}, "must be given together.*routed_milliseconds=None"),
        ({"routed_milliseconds": 1.0}, "must be given together.*fixed_milliseconds=None"),
        (
            {"fixed_milliseconds": [1, 2], "routed_milliseconds": 1.0},
            r"`fixed_milliseconds` must hold 3 times above 0.*\[1, 2\]",
        ),
        (
            {"fixed_milliseconds": [1, 2, 3], "routed_milliseconds": float("nan")},
            "`fixed_milliseconds` must hold 3 times above 0.*routed_milliseconds=nan",
        ),
    ],
)
def test_bad_input_is_refused_before_the_folder_is_made(tmp_path, changes, message):
    directory = tmp_path / "report"
    with pytest.raises(InputError, match=message):
        write(directory, **changes)
    assert not directory.exists()


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "report"
    path.write_text("a file")
    with pytest.raises(InputError, match="`directory` must be a folder"):
        write(path)
    assert path.read_text() == "a file"
