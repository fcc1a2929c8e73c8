import json

import numpy as np
import pytest

from tests.tiny_networks import tiny_msdnet
from tf_adaptive import EarlyExit
from tf_adaptive.errors import InputError
from tf_adaptive.exits.evaluation import AnytimeRow, BudgetRow
from tf_adaptive.exits.operating_point import OperatingPoint, choose_operating_point
from tf_adaptive.exits.report import rows_of_tables
from tf_adaptive.runs.tables import read_exit_report

ANYTIME = [
    AnytimeRow(k, k * 2_000_000, k, k, accuracy_percent=70.0, validation_accuracy_percent=percent)
    for k, percent in enumerate((80.0, 88.0, 90.0), 1)
]


def budget(mean_macs, percent, *thresholds):
    """What it costs and reaches on the test images is other than on those it is chosen by."""
    return BudgetRow(
        p=1.0,
        mean_macs=mean_macs + 500_000,
        mean_lazy_macs=1,
        accuracy_percent=percent - 7,
        shares=(0.5, 0.25, 0.25),
        thresholds=tuple(map(np.float32, thresholds)),
        validation_accuracy_percent=percent,
        validation_mean_macs=mean_macs,
    )


BUDGETS = [
    budget(2_000_000, 81.0, 0.5, 0.4),
    budget(3_000_000, 89.6, 0.6, 0.5),
    budget(4_000_000, 89.2, 0.65, 0.55),
    budget(5_000_000, 90.4, 0.7, 0.6),
    budget(6_000_000, 90.4, 0.8, 0.7),
]


def choose(**options):
    return choose_operating_point(ANYTIME, BUDGETS, "entropy", **options)


@pytest.mark.parametrize(
    ("options", "mean_macs"),
    [
        ({"budget_mmacs": 2.0}, 2_000_000),
        ({"budget_mmacs": 4.5}, 3_000_000),
        ({"budget_mmacs": 100.0}, 5_000_000),
        ({"accuracy_drop": 9.0}, 2_000_000),
        ({"accuracy_drop": 0.5}, 3_000_000),
        ({}, 3_000_000),
        ({"accuracy_drop": 0.0}, 5_000_000),
        ({"accuracy_drop": -0.4}, 5_000_000),
    ],
)
def test_chooses_from_the_report(options, mean_macs):
    point = choose(**options)
    row = next(row for row in BUDGETS if row.validation_mean_macs == mean_macs)
    assert (point.mean_macs, point.accuracy_percent) == (row.mean_macs, row.accuracy_percent)
    assert point.shares == row.shares
    assert point.thresholds.dtype == np.float32
    np.testing.assert_array_equal(point.thresholds, row.thresholds)
    assert "budget" in point.chosen and point.chosen.endswith("on the validation images")
    assert point.measure == "entropy"


def test_where_all_lose_more_than_half_a_point():
    rows = BUDGETS[:1] + BUDGETS[2:3]
    point = choose_operating_point(ANYTIME, rows, "entropy")
    assert point.mean_macs == BUDGETS[2].mean_macs
    assert point.chosen.startswith("the most accurate budget, as all lose more than 0.5 points")
    with pytest.raises(InputError, match="most accurate budget loses, 0.80 points"):
        choose_operating_point(ANYTIME, rows, "entropy", accuracy_drop=0.5)


def test_thresholds_as_given():
    point = choose(thresholds=[0.25, 1])
    np.testing.assert_array_equal(point.thresholds, np.float32([0.25, 1]))
    assert point.mean_macs is point.accuracy_percent is point.shares is None
    assert (point.chosen, point.measure) == ("given by hand", "entropy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget_mmacs": 1.9}, r"at least that of the report's cheapest budget, 2\. .*=1\.9"),
        ({"budget_mmacs": float("nan")}, "cheapest budget"),
        ({"accuracy_drop": -0.5}, r"most accurate budget loses, -0\.40 points.*=-0\.5"),
        ({"accuracy_drop": float("nan")}, "most accurate budget loses"),
        ({"thresholds": [0.5]}, "must hold 2 numbers, one for each of the 3 exits but the last"),
        ({"thresholds": [0.5, 1.5]}, r"must be numbers in \[0, 1\]"),
        ({"budget_mmacs": 3.0, "thresholds": [0.5, 0.5]}, "budget_mmacs and thresholds"),
    ],
)
def test_what_cannot_be_met_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        choose(**options)


def test_a_description_reads_back():
    point = choose(accuracy_drop=0.5)
    described = json.loads(json.dumps(point.description()))
    again = OperatingPoint.from_description(described, 3)
    np.testing.assert_array_equal(again.thresholds, point.thresholds)
    assert again.description() == point.description()
    # As former versions wrote it.
    short = {"measure": "margin", "thresholds": [0.5, 0.25]}
    assert OperatingPoint.from_description(short, 3).mean_macs is None
    with pytest.raises(InputError, match="`thresholds` must hold 1 numbers"):
        OperatingPoint.from_description(short, 2)


def test_early_exit_takes_a_point():
    model = tiny_msdnet()
    thresholds = np.float32([0.5] * (len(model.outputs) - 1))
    point = OperatingPoint(thresholds, "entropy", "by trial")
    early_exit = EarlyExit(model, point)
    assert (early_exit.point, early_exit.measure) == (point, "entropy")
    np.testing.assert_array_equal(early_exit.thresholds, thresholds)
    with pytest.raises(InputError, match="that of the operating point, 'entropy'.*'margin'"):
        EarlyExit(model, point, measure="margin")
    with pytest.raises(InputError, match="`thresholds` must hold"):
        EarlyExit(model, OperatingPoint(thresholds[:0], "entropy", "by trial"))


def test_the_report_must_be_of_as_many_exits(finished_run, tmp_path):
    anytime_rows, budget_rows, measure = read_exit_report(finished_run, 4)
    assert [row.exit for row in anytime_rows] == [1, 2, 3, 4]
    assert measure == "max_probability" and len(budget_rows) == 39
    with pytest.raises(InputError, match="of its network, 3: run trainers.evaluate again.*4 rows"):
        read_exit_report(finished_run, 3)
    with pytest.raises(InputError, match="The run must have a report: run trainers.evaluate"):
        read_exit_report(tmp_path, 4)


@pytest.mark.parametrize(
    "damage",
    [
        {"threshold_exit_1": None},
        {"threshold_exit_2": "none"},
        {"measure": None},
        {"measure": "largest"},
        {"validation_accuracy_percent": None},
    ],
)
def test_a_report_of_another_network_or_version_is_refused(damage):
    text = {"accuracy_percent": "80.0", "validation_accuracy_percent": "80.0"}
    exits = [{"exit": "1", "macs": "1", "lazy_macs": "1", "parameters": "1", **text}] * 3
    row = {"p": "1.0", "measure": "margin", "mean_macs": "1", "mean_lazy_macs": "1", **text}
    row |= {"validation_mean_macs": "1"} | {f"share_exit_{k}": "0.3" for k in (1, 2, 3)}
    row |= {f"threshold_exit_{k}": "0.5" for k in (1, 2)}
    rows_of_tables(exits, [row])
    damaged = {k: v for k, v in {**row, **damage}.items() if v is not None}
    with pytest.raises(InputError, match="of this version: run trainers.evaluate again"):
        rows_of_tables(exits, [damaged])
