import os

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.exits.budgets import budgeted
from tests.exits.made_up_report import (
    CALIBRATION_LABELS,
    CALIBRATION_LOGITS,
    COSTS,
    TEST_LABELS,
    TEST_LOGITS,
    VALIDATION_LABELS,
    VALIDATION_LOGITS,
    write,
)
from tests.trainers.programs import rows as read_csv
from tf_adaptive.errors import InputError
from tf_adaptive.exits import plots
from tf_adaptive.exits.calibration import fit_temperatures
from tf_adaptive.exits.evaluation import (
    anytime,
    confidences_of_exits,
    loss_counts,
    sweep,
)
from tf_adaptive.exits.report import evaluate_exits, rows_of_tables
from tf_adaptive.exits.thresholds import choose_exits

FILES = [
    "accuracy_against_macs.png",
    "anytime.csv",
    "budgeted.csv",
    "calibration.csv",
    "exits_along_budget.png",
    "first_and_last_exit.png",
    "optimal.csv",
    "promise.csv",
    "reliability.png",
    "report.html",
]
TABLES = ("anytime", "budgeted", "optimal", "promise")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run") / "deeper" / "report"
    return directory, write(directory)


def test_report_holds_its_files_and_nothing_else(report):
    directory, _ = report
    assert sorted(os.listdir(directory)) == FILES
    for name in FILES:
        if name.endswith(".png"):
            with Image.open(directory / name) as image:
                image.load()
                assert min(image.size) > 800
                assert len(np.unique(np.asarray(image.convert("L")))) > 20


def test_report_has_the_rows_of_the_evaluation(report):
    _, written = report
    temperatures = fit_temperatures(VALIDATION_LOGITS, VALIDATION_LABELS)
    np.testing.assert_array_equal(written.temperatures, temperatures)
    assert written.anytime == anytime(
        TEST_LOGITS,
        TEST_LABELS,
        COSTS,
        calibration_logits=CALIBRATION_LOGITS,
        calibration_labels=CALIBRATION_LABELS,
    )
    assert written.budgets == budgeted(
        VALIDATION_LOGITS,
        TEST_LOGITS,
        TEST_LABELS,
        COSTS,
        calibration_logits=CALIBRATION_LOGITS,
        calibration_labels=CALIBRATION_LABELS,
        temperatures=temperatures,
    )


def test_a_promise_is_tested_on_images_that_made_no_threshold(report):
    _, written = report
    settings = {"temperatures": written.temperatures}
    expected = sweep(VALIDATION_LOGITS, **settings)
    rising = np.maximum.accumulate([expected[p] for p in sorted(expected)])
    for (row, counts), thresholds in zip(written.family, rising[::-1], strict=True):
        np.testing.assert_array_equal(row.thresholds, thresholds)
        assert [counts] == loss_counts(
            CALIBRATION_LOGITS, CALIBRATION_LABELS, [thresholds], **settings
        )


def test_without_calibration_images_those_of_validation_are_halved(tmp_path):
    written = write(tmp_path, calibration_logits=None, calibration_labels=None)
    temperatures = fit_temperatures(VALIDATION_LOGITS[:, ::2], VALIDATION_LABELS[::2])
    np.testing.assert_array_equal(written.temperatures, temperatures)
    settings = {"temperatures": temperatures}
    expected = sweep(VALIDATION_LOGITS[:, ::2], **settings)
    row, counts = written.family[-1]
    np.testing.assert_array_equal(row.thresholds, expected[min(expected)])
    assert counts.images == 45
    assert [counts] == loss_counts(
        VALIDATION_LOGITS[:, 1::2], VALIDATION_LABELS[1::2], [row.thresholds], **settings
    )
    assert written.calibrated_on == "validation images"
    assert written.operating_point().chosen.endswith("on the validation images")


def test_without_labels_the_last_exit_s_answers_count(tmp_path):
    written = write(tmp_path, calibration_labels=None)
    assert written.anytime[-1].calibration_accuracy_percent == 100
    assert {counts.spoiled for _, counts in written.family} == {None}
    tables = [read_csv(tmp_path / f"{name}.csv") for name in TABLES]
    assert rows_of_tables(*tables).family[0][1] == written.family[0][1]


def test_calibration_csv_says_how_far_probabilities_mean_what_they_say(report):
    directory, written = report
    lines = read_csv(directory / "calibration.csv")
    assert [int(line["exit"]) for line in lines] == [1, 2, 3]
    for line, row in zip(lines, written.calibration, strict=True):
        assert float(line["nll"]) == row.nll
        assert float(line["temperature"]) == row.temperature


def test_the_splits_are_told(tmp_path):
    write(tmp_path, sizes={"train": 5, "validation": 90, "calibration": 80, "test": 200})
    lines = read_csv(tmp_path / "splits.csv")
    assert [(line["split"], line["images"]) for line in lines] == [
        *(("train", "5"), ("validation", "90"), ("calibration", "80"), ("test", "200"))
    ]


def test_tables_read_back_as_rows(report):
    directory, written = report
    read = rows_of_tables(*(read_csv(directory / f"{name}.csv") for name in TABLES))
    assert (read.measure, read.calibrated_on) == ("max_probability", "calibration images")
    np.testing.assert_array_equal(read.temperatures, written.temperatures)
    assert [counts for _, counts in read.family] == [counts for _, counts in written.family]
    pairs = [
        *zip(read.anytime, written.anytime, strict=True),
        *zip(read.budgets, written.budgets, strict=True),
        *zip(read.optimal, written.optimal, strict=True),
        *(
            (ours, theirs)
            for (ours, _), (theirs, _) in zip(read.family, written.family, strict=True)
        ),
    ]
    for ours, theirs in pairs:
        for name, value in vars(theirs).items():
            if name == "thresholds":
                assert ours.thresholds == value
            else:
                assert getattr(ours, name) == pytest.approx(value, abs=1e-4), name


def test_a_point_is_chosen_in_calibration_and_measured_on_the_test_images(report):
    _, written = report
    point = written.operating_point(accuracy_drop=10.0)
    last = 100 * np.mean(CALIBRATION_LOGITS[-1].argmax(-1) == CALIBRATION_LABELS)
    accurate = [row for row in written.budgets if row.calibration_accuracy_percent >= last - 10]
    row = min(accurate, key=lambda row: row.calibration_mean_macs)
    assert (point.accuracy_percent, point.mean_macs) == (row.accuracy_percent, row.mean_macs)
    np.testing.assert_array_equal(point.thresholds, row.thresholds)
    # The same thresholds, given by hand, are measured to give the same.
    given = written.operating_point(thresholds=row.thresholds)
    assert given.accuracy_percent == pytest.approx(row.accuracy_percent)
    assert (given.mean_macs, given.chosen) == (row.mean_macs, "given by hand")
    assert given.shares == pytest.approx(row.shares)


def test_anytime_csv_reads_back(report):
    directory, written = report
    lines = read_csv(directory / "anytime.csv")
    columns = (
        "exit macs lazy_macs parameters temperature calibrated_on "
        "calibration_accuracy_percent accuracy_percent"
    )
    assert list(lines[0]) == columns.split()
    assert len(lines) == 3
    for line, row in zip(lines, written.anytime, strict=True):
        for column in ("exit", "macs", "lazy_macs", "parameters"):
            assert int(line[column]) == getattr(row, column)
        assert float(line["accuracy_percent"]) == pytest.approx(row.accuracy_percent, abs=1e-4)


def test_budgeted_csv_reads_back(report):
    directory, written = report
    lines = read_csv(directory / "budgeted.csv")
    columns = [
        "p",
        "measure",
        "mean_macs",
        "mean_lazy_macs",
        "accuracy_percent",
        "calibration_mean_macs",
        "calibration_accuracy_percent",
    ]
    for prefix in ("share", "calibration_share"):
        columns += [f"{prefix}_exit_{k}" for k in (1, 2, 3)]
    assert list(lines[0]) == [*columns, "threshold_exit_1", "threshold_exit_2"]
    assert len(lines) == 39
    for line, row in zip(lines, written.budgets, strict=True):
        assert float(line["p"]) == row.p
        assert int(line["mean_macs"]) == row.mean_macs
        assert int(line["mean_lazy_macs"]) == row.mean_lazy_macs
        assert float(line["accuracy_percent"]) == pytest.approx(row.accuracy_percent, abs=1e-4)
        for k in range(3):
            assert float(line[f"share_exit_{k + 1}"]) == pytest.approx(row.shares[k], abs=1e-6)
        for k in range(2):
            # To the last bit: the thresholds are there to be used again.
            text = line[f"threshold_exit_{k + 1}"]
            assert np.float32("inf" if text == "off" else text) == row.thresholds[k]


def test_report_shows_images_of_the_cheapest_budget_within_half_a_point(tmp_path, monkeypatch):
    seen = {}

    def record(first, last, class_names, title):
        seen.update(first=first, last=last, class_names=class_names, title=title)
        return Figure()

    monkeypatch.setattr(plots, "first_and_last_exit", record)
    written = write(tmp_path / "report")
    wanted = written.anytime[-1].calibration_accuracy_percent - 0.5
    budget = min(
        (row for row in written.budgets if row.calibration_accuracy_percent >= wanted),
        key=lambda row: row.calibration_mean_macs,
        default=max(written.budgets, key=lambda row: row.calibration_accuracy_percent),
    )
    assert budget is written.near_last_exit
    assert f"{budget.mean_macs / 1e6:.1f} million MACs" in seen["title"]
    assert f"p = {budget.p:g}" in seen["title"]
    assert seen["class_names"] == ["0", "1", "2", "3"]

    confidences = confidences_of_exits(TEST_LOGITS, temperatures=written.temperatures)
    exits = choose_exits(confidences, budget.thresholds)
    for side, number in (("first", 1), ("last", 3)):
        heading, images = seen[side]
        left = np.flatnonzero(exits == number)
        right = TEST_LOGITS[number - 1, left].argmax(axis=-1) == TEST_LABELS[left]
        assert f"{len(left)} of 200 images, {100 * right.mean():.1f} % right" in heading
        positions = [int(picture[0, 0, 0]) for picture, _, _ in images]
        assert len(set(positions)) == min(len(left), 20)
        assert positions == sorted(positions)
        assert set(positions) <= set(left.tolist())
        assert (positions[0], positions[-1]) == (left[0], left[-1])
        for position, (_, predicted, true) in zip(positions, images, strict=True):
            assert predicted == TEST_LOGITS[number - 1, position].argmax()
            assert true == TEST_LABELS[position]


@pytest.mark.filterwarnings("ignore:exit 1 has a confidence of 1.0")
@pytest.mark.parametrize("factor", [0.0, 1e4])
def test_report_where_all_leave_at_the_first_exit(tmp_path, factor):
    # Equal confidences are one large tie: everybody leaves, nobody needs the last exit.
    scale = np.array([factor, 1, 1], "float32")[:, np.newaxis, np.newaxis]
    first_exit = np.eye(4, dtype="float32")[TEST_LABELS]
    test_logits, validation_logits = TEST_LOGITS.copy(), VALIDATION_LOGITS * scale
    test_logits[0] = first_exit * factor
    validation_logits[0] = np.eye(4, dtype="float32")[np.zeros(90, int)] * factor
    written = write(tmp_path, test_logits=test_logits, validation_logits=validation_logits)
    assert {row.shares for row in written.budgets} == {(1.0, 0.0, 0.0)}
    assert sorted(os.listdir(tmp_path)) == FILES


def test_report_of_one_exit(tmp_path):
    written = write(
        tmp_path,
        validation_logits=VALIDATION_LOGITS[:1],
        calibration_logits=CALIBRATION_LOGITS[:1],
        test_logits=TEST_LOGITS[:1],
        costs=COSTS[:1],
    )
    assert sorted(os.listdir(tmp_path)) == [
        *("anytime.csv", "budgeted.csv", "calibration.csv", "reliability.png")
    ]
    (row,) = read_csv(tmp_path / "anytime.csv")
    accuracy = 100 * np.mean(TEST_LOGITS[0].argmax(-1) == TEST_LABELS)
    calibration_accuracy = 100 * np.mean(CALIBRATION_LOGITS[0].argmax(-1) == CALIBRATION_LABELS)
    assert (row["exit"], row["macs"]) == ("1", str(COSTS[0].macs))
    assert float(row["accuracy_percent"]) == pytest.approx(accuracy, abs=1e-4)
    (row,) = read_csv(tmp_path / "budgeted.csv")
    assert row == {
        "p": "1.0",
        "measure": "max_probability",
        "mean_macs": str(COSTS[0].macs),
        "mean_lazy_macs": str(COSTS[0].lazy_macs),
        "accuracy_percent": f"{accuracy:.4f}",
        "calibration_mean_macs": str(COSTS[0].macs),
        "calibration_accuracy_percent": f"{calibration_accuracy:.4f}",
        "share_exit_1": "1.000000",
        "calibration_share_exit_1": "1.000000",
    }
    assert (len(written.anytime), len(written.budgets)) == (1, 1)


def test_report_replaces_a_former_one_and_leaves_other_files(tmp_path):
    (tmp_path / "anytime.csv").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    write(tmp_path)
    assert len(read_csv(tmp_path / "anytime.csv")) == 3
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_report_writes_nothing_when_a_figure_fails(tmp_path, second_figure_fails):
    (tmp_path / "anytime.csv").write_text("old")
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path)
    assert os.listdir(tmp_path) == ["anytime.csv"]
    assert (tmp_path / "anytime.csv").read_text() == "old"


def test_report_refuses_bad_input_before_it_makes_the_folder(tmp_path):
    directory = tmp_path / "report"
    with pytest.raises(InputError, match="`class_names` must hold a name for each of the 4"):
        write(directory, class_names=["cat", "dog"])
    with pytest.raises(InputError, match="`measure` must be one of"):
        write(directory, measure="largest")
    with pytest.raises(InputError, match="`costs` must hold a row"):
        write(directory, costs=COSTS[:2])
    broken = VALIDATION_LOGITS.copy()
    broken[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="`validation_logits` must be finite.*Received: 1 that"):
        write(directory, validation_logits=broken)
    assert not directory.exists()
    directory.write_text("a file")
    with pytest.raises(InputError, match="`directory` must be a folder"):
        write(directory)
    assert directory.read_text() == "a file"


class FewImages:
    """A data set whose calibration images have no third class."""

    sizes = {"train": 0, "validation": 6, "calibration": 6, "test": 6}
    num_classes = 3
    class_names = ("a", "b", "c")

    def batches(self, split, batch_size):
        labels = np.arange(6) % (2 if split == "calibration" else 3)
        return [(np.random.default_rng(0).normal(size=(6, 3)).astype("float32"), labels)]


def test_a_class_without_calibration_images_is_told_of():
    images = keras.Input((3,))
    early = keras.layers.Dense(3)(images)
    late = keras.layers.Dense(3)(keras.layers.Dense(4)(images))
    model = keras.Model(images, [early, late])
    settings = {"measure": "max_probability", "batch_size": 6}
    with pytest.warns(UserWarning, match="images of every class, .* none of class 2"):
        report = evaluate_exits(model, FewImages(), shown=lambda batches, _: batches, **settings)
    assert report.sizes["calibration"] == 6
    own = (FewImages().batches("calibration", 6), True, "6 pictures of mine")
    with pytest.raises(InputError, match="The 6 pictures of mine must hold images of every class"):
        evaluate_exits(
            model, FewImages(), shown=lambda batches, _: batches, own_pictures=own, **settings
        )
