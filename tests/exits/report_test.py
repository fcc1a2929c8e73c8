import os
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.trainers.programs import rows as read_csv
from tf_adaptive.errors import InputError
from tf_adaptive.exits import plots
from tf_adaptive.exits.evaluation import anytime, budgeted, confidences_of_exits
from tf_adaptive.exits.report import ExitReport, rows_of_tables
from tf_adaptive.exits.thresholds import choose_exits

FILES = [
    "accuracy_against_macs.png",
    "anytime.csv",
    "budgeted.csv",
    "exits_along_budget.png",
    "first_and_last_exit.png",
]
COSTS = [
    SimpleNamespace(macs=k * 10_000_001, lazy_macs=k * 9_000_000, parameters=k * 1_000)
    for k in (1, 2, 4)
]


def random_logits(num_samples, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, num_samples)
    logits = random.normal(size=(3, num_samples, 4)).astype("float32")
    logits[:, np.arange(num_samples), labels] += np.array([[1], [2], [4]])
    return logits, labels


def pictures(indices):
    return [np.full((8, 8, 1), index % 256, "uint8") for index in indices]


VALIDATION_LOGITS, VALIDATION_LABELS = random_logits(90, seed=0)
TEST_LOGITS, TEST_LABELS = random_logits(200, seed=1)


def write(directory, **changes):
    arguments = {
        "validation_logits": VALIDATION_LOGITS,
        "validation_labels": VALIDATION_LABELS,
        "test_logits": TEST_LOGITS,
        "test_labels": TEST_LABELS,
        "costs": COSTS,
        "pictures": pictures,
    }
    report = ExitReport(**{**arguments, **changes})
    report.write(directory)
    return report


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
    validation = {"validation_labels": VALIDATION_LABELS}
    assert written.anytime == anytime(
        TEST_LOGITS, TEST_LABELS, COSTS, validation_logits=VALIDATION_LOGITS, **validation
    )
    assert written.budgets == budgeted(
        VALIDATION_LOGITS, TEST_LOGITS, TEST_LABELS, COSTS, **validation
    )


def test_tables_read_back_as_rows(report):
    directory, written = report
    tables = [read_csv(directory / f"{name}.csv") for name in ("anytime", "budgeted")]
    anytime_rows, budget_rows, measure = rows_of_tables(*tables)
    assert measure == "max_probability"
    for ours, theirs in zip(
        [*anytime_rows, *budget_rows], [*written.anytime, *written.budgets], strict=True
    ):
        for name, value in vars(theirs).items():
            assert getattr(ours, name) == pytest.approx(value, abs=1e-4), name
    assert [row.thresholds for row in budget_rows] == [row.thresholds for row in written.budgets]


def test_a_point_is_chosen_in_validation_and_measured_on_the_test_images(report):
    _, written = report
    point = written.operating_point(accuracy_drop=10.0)
    last = 100 * np.mean(VALIDATION_LOGITS[-1].argmax(-1) == VALIDATION_LABELS)
    accurate = [row for row in written.budgets if row.validation_accuracy_percent >= last - 10]
    row = min(accurate, key=lambda row: row.validation_mean_macs)
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
    columns = "exit macs lazy_macs parameters validation_accuracy_percent accuracy_percent"
    assert list(lines[0]) == columns.split()
    assert len(lines) == 3
    for line, row in zip(lines, written.anytime, strict=True):
        for column in ("exit", "macs", "lazy_macs", "parameters"):
            assert int(line[column]) == getattr(row, column)
        assert float(line["accuracy_percent"]) == pytest.approx(row.accuracy_percent, abs=1e-4)


def test_budgeted_csv_reads_back(report):
    directory, written = report
    lines = read_csv(directory / "budgeted.csv")
    columns = (
        "p measure mean_macs mean_lazy_macs accuracy_percent validation_mean_macs "
        "validation_accuracy_percent share_exit_1 share_exit_2 share_exit_3"
    )
    assert list(lines[0]) == [*columns.split(), "threshold_exit_1", "threshold_exit_2"]
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
            assert np.float32(line[f"threshold_exit_{k + 1}"]) == row.thresholds[k]


def test_report_shows_images_of_the_cheapest_budget_within_half_a_point(tmp_path, monkeypatch):
    seen = {}

    def record(first, last, class_names, title):
        seen.update(first=first, last=last, class_names=class_names, title=title)
        return Figure()

    monkeypatch.setattr(plots, "first_and_last_exit", record)
    written = write(tmp_path / "report")
    wanted = written.anytime[-1].validation_accuracy_percent - 0.5
    budget = min(
        (row for row in written.budgets if row.validation_accuracy_percent >= wanted),
        key=lambda row: row.validation_mean_macs,
        default=max(written.budgets, key=lambda row: row.validation_accuracy_percent),
    )
    assert budget is written.near_last_exit
    assert f"{budget.mean_macs / 1e6:.1f} million MACs" in seen["title"]
    assert f"p = {budget.p:g}" in seen["title"]
    assert seen["class_names"] == ["0", "1", "2", "3"]

    exits = choose_exits(confidences_of_exits(TEST_LOGITS), budget.thresholds)
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
        test_logits=TEST_LOGITS[:1],
        costs=COSTS[:1],
    )
    assert sorted(os.listdir(tmp_path)) == ["anytime.csv", "budgeted.csv"]
    (row,) = read_csv(tmp_path / "anytime.csv")
    accuracy = 100 * np.mean(TEST_LOGITS[0].argmax(-1) == TEST_LABELS)
    validation_accuracy = 100 * np.mean(VALIDATION_LOGITS[0].argmax(-1) == VALIDATION_LABELS)
    assert (row["exit"], row["macs"]) == ("1", str(COSTS[0].macs))
    assert float(row["accuracy_percent"]) == pytest.approx(accuracy, abs=1e-4)
    (row,) = read_csv(tmp_path / "budgeted.csv")
    assert row == {
        "p": "1.0",
        "measure": "max_probability",
        "mean_macs": str(COSTS[0].macs),
        "mean_lazy_macs": str(COSTS[0].lazy_macs),
        "accuracy_percent": f"{accuracy:.4f}",
        "validation_mean_macs": str(COSTS[0].macs),
        "validation_accuracy_percent": f"{validation_accuracy:.4f}",
        "share_exit_1": "1.000000",
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
    assert not directory.exists()
    directory.write_text("a file")
    with pytest.raises(InputError, match="`directory` must be a folder"):
        write(directory)
    assert directory.read_text() == "a file"
