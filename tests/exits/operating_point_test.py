import json

import numpy as np
import pytest

from tests.tiny_networks import tiny_msdnet
from tf_adaptive import EarlyExit
from tf_adaptive.errors import InputError
from tf_adaptive.exits.evaluation import AnytimeRow, BudgetRow
from tf_adaptive.exits.latency import LatencyRow
from tf_adaptive.exits.operating_point import (
    ExitRows,
    OperatingPoint,
    choose_operating_point,
)
from tf_adaptive.exits.promise import LossCounts, Promise
from tf_adaptive.exits.report import rows_of_tables
from tf_adaptive.runs.tables import read_exit_report

ANYTIME = [
    AnytimeRow(k, k * 2_000_000, k, k, accuracy_percent=70.0, calibration_accuracy_percent=percent)
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
        calibration_accuracy_percent=percent,
        calibration_mean_macs=mean_macs,
        # The dearer, the later images leave.
        calibration_shares=(1 - mean_macs / 8e6, 0.0, mean_macs / 8e6),
    )


BUDGETS = [
    budget(2_000_000, 81.0, 0.5, 0.4),
    budget(3_000_000, 89.6, 0.6, 0.5),
    budget(4_000_000, 89.2, 0.65, 0.55),
    budget(5_000_000, 90.4, 0.7, 0.6),
    budget(6_000_000, 90.4, 0.8, 0.7),
]


TEMPERATURES = np.float32([1.5, 1, 0.5])
# From the safest on: what 1,000 images lose and win.
FAMILY = [
    (BUDGETS[4], LossCounts(1000, spoiled=0, mended=0, differing=0)),
    (BUDGETS[3], LossCounts(1000, spoiled=2, mended=2, differing=6)),
    (BUDGETS[0], LossCounts(1000, spoiled=60, mended=2, differing=80)),
]


def rows_with(**changes):
    return ExitRows(
        **{
            "anytime": ANYTIME,
            "measure": "entropy",
            "temperatures": TEMPERATURES,
            "budgets": BUDGETS,
            "optimal": BUDGETS[1::2],
            "family": FAMILY,
            "calibrated_on": "calibration images",
            **changes,
        }
    )


def choose(**options):
    return choose_operating_point(rows_with(), **options)


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
    row = next(row for row in BUDGETS if row.calibration_mean_macs == mean_macs)
    assert (point.mean_macs, point.accuracy_percent) == (row.mean_macs, row.accuracy_percent)
    assert point.shares == row.shares
    assert point.thresholds.dtype == np.float32
    np.testing.assert_array_equal(point.thresholds, row.thresholds)
    assert "budget" in point.chosen and point.chosen.endswith("on the calibration images")
    assert point.measure == "entropy"
    np.testing.assert_array_equal(point.temperatures, TEMPERATURES)


def test_chooses_among_searched_thresholds():
    searched = budget(4_500_000, 90.5, 0.75, 0.65)
    rows = rows_with(optimal=[searched])
    assert choose_operating_point(rows, budget_mmacs=100.0).mean_macs == BUDGETS[3].mean_macs
    point = choose_operating_point(rows, method="optimal", budget_mmacs=100.0)
    assert point.mean_macs == searched.mean_macs
    # And never worse than the sweep's, where those are better.
    cheap = choose_operating_point(rows, method="optimal", budget_mmacs=3.0)
    assert cheap.mean_macs == BUDGETS[1].mean_macs
    assert point.chosen.startswith("the most accurate jointly searched thresholds of at most")


def test_chooses_by_measured_times():
    latencies = [LatencyRow(k, k * 2_000_000, float(k), 2.0 * k) for k in (1, 2, 3)]
    rows = rows_with(latencies=latencies)
    # At shares of 3/8 and 5/8 at the first and last exit of 1 and 3 ms, and more.
    for latency_ms, mean_macs in ((2.25, 5_000_000), (2.2, 3_000_000), (9.0, 5_000_000)):
        point = choose_operating_point(rows, latency_ms=latency_ms)
        assert point.mean_macs == mean_macs + 500_000
        assert point.mean_ms == pytest.approx(np.dot(point.shares, (1, 2, 3)))
    with pytest.raises(InputError, match="fastest budget, 1.5. Received: latency_ms=1.4"):
        choose_operating_point(rows, latency_ms=1.4)
    # 95 % of the images have left at the last exit only, at any of these budgets.
    assert choose_operating_point(rows, latency_ms=6, latency_by="percentile_95")
    with pytest.raises(InputError, match="fastest budget, 6"):
        choose_operating_point(rows, latency_ms=5.9, latency_by="percentile_95")
    with pytest.raises(InputError, match="Did you mean 'percentile_95'"):
        choose_operating_point(rows, latency_ms=6, latency_by="percentile")
    with pytest.raises(InputError, match="run trainers.evaluate with --latency or --latency_csv"):
        choose(latency_ms=5)


def test_a_promise_takes_the_cheapest_that_is_shown_to_keep_it():
    point = choose(risk=0.02)
    np.testing.assert_array_equal(point.thresholds, BUDGETS[3].thresholds)
    assert point.promise == Promise(0.02, 0.95, "accuracy_gap", 1000)
    assert len(point.family) == 2
    for (thresholds, disagreement), (row, counts) in zip(point.family, FAMILY[:2], strict=True):
        np.testing.assert_array_equal(thresholds, row.thresholds)
        assert counts.differing / 1000 < disagreement < 0.03
    assert "loses at most 2 points of accuracy against the last exit" in point.promise.words()
    assert choose(risk=0.2, confidence=0.9).mean_macs == BUDGETS[0].mean_macs
    unlabelled = [(row, LossCounts(c.images, None, None, c.differing)) for row, c in FAMILY]
    point = choose_operating_point(rows_with(family=unlabelled), risk=0.02)
    assert point.promise.loss == "disagreement"
    assert "differs on at most 2 % of the images" in point.promise.words()


def test_where_no_exit_or_some_are_on():
    assert choose(thresholds=[None, 0.5]).enabled_exits == (2, 3)
    assert choose(thresholds=[None, None]).enabled_exits == (3,)
    assert choose(thresholds=[1.0, 0.0]).enabled_exits == (1, 2, 3)
    # That nobody is to leave there is no reason to leave an exit out.
    budgets = [budget(2_000_000, 90.0, np.inf, 0.5)]
    assert choose_operating_point(rows_with(budgets=budgets)).enabled_exits == (1, 2, 3)
    point = OperatingPoint(np.float32([0.5, 0.4]), "entropy", "by trial", enabled_exits=(1,))
    assert (point.enabled_exits, point.thresholds[1]) == ((1, 3), np.inf)
    with pytest.raises(InputError, match="numbers of exits, from 1 to 3. Received: .*4"):
        OperatingPoint(np.float32([0.5, 0.4]), "entropy", "by trial", enabled_exits=(4,))


def test_where_all_lose_more_than_half_a_point():
    rows = BUDGETS[:1] + BUDGETS[2:3]
    point = choose_operating_point(rows_with(budgets=rows))
    assert point.mean_macs == BUDGETS[2].mean_macs
    assert point.chosen.startswith("the most accurate budget, as all lose more than 0.5 points")
    with pytest.raises(InputError, match="most accurate budget loses, 0.80 points"):
        choose_operating_point(rows_with(budgets=rows), accuracy_drop=0.5)


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
        ({"risk": 0.001}, r"1,000 show no saving .* About [\d,]+ such images would suffice"),
        ({"risk": 0.0}, "`risk` must be above 0 and below 1"),
        ({"risk": 0.1, "confidence": 1.0}, "`confidence` must be above 0 and below 1"),
        ({"confidence": 0.9}, "`confidence` must come with `risk`"),
        ({"method": "optimum"}, "Did you mean 'optimal'"),
    ],
)
def test_what_cannot_be_met_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        choose(**options)


def test_a_description_reads_back():
    for point in (choose(accuracy_drop=0.5), choose(risk=0.02), choose(thresholds=[None, 0.5])):
        reads_back(point)
    # As former versions wrote it.
    short = {"measure": "margin", "thresholds": [0.5, 0.25]}
    assert OperatingPoint.from_description(short, 3).mean_macs is None
    with pytest.raises(InputError, match="`thresholds` must hold 1 numbers"):
        OperatingPoint.from_description(short, 2)
    with pytest.raises(InputError, match="`temperatures` must be 3 numbers above 0"):
        OperatingPoint.from_description({**short, "temperatures": [1.0, 0.0, 1.0]}, 3)


def reads_back(point):
    described = json.loads(json.dumps(point.description()))
    again = OperatingPoint.from_description(described, 3)
    np.testing.assert_array_equal(again.thresholds, point.thresholds)
    np.testing.assert_array_equal(again.temperatures, point.temperatures)
    assert again.description() == point.description()
    assert again.promise == point.promise
    for ours, theirs in zip(again.family or (), point.family or (), strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert ours[1] == theirs[1]


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
    rows = read_exit_report(finished_run, 4)
    assert [row.exit for row in rows.anytime] == [1, 2, 3, 4]
    assert rows.measure == "max_probability" and len(rows.budgets) == 39
    with pytest.raises(InputError, match="of its network, 3: run trainers.evaluate again.*4 rows"):
        read_exit_report(finished_run, 3)
    with pytest.raises(InputError, match="The run must have a report of this version: run"):
        read_exit_report(tmp_path, 4)


@pytest.mark.parametrize(
    "damage",
    [
        {"threshold_exit_1": None},
        {"threshold_exit_2": "none"},
        {"measure": None},
        {"measure": "largest"},
        {"calibration_accuracy_percent": None},
    ],
)
def test_a_report_of_another_network_or_version_is_refused(damage):
    text = {"accuracy_percent": "80.0", "calibration_accuracy_percent": "80.0"}
    exits = [{"exit": "1", "macs": "1", "lazy_macs": "1", "parameters": "1", **text}] * 3
    exits = [{**row, "temperature": "1.0", "calibrated_on": "calibration images"} for row in exits]
    row = {"p": "1.0", "measure": "margin", "mean_macs": "1", "mean_lazy_macs": "1", **text}
    row |= {"calibration_mean_macs": "1"} | {f"share_exit_{k}": "0.3" for k in (1, 2, 3)}
    row |= {f"calibration_share_exit_{k}": "0.3" for k in (1, 2, 3)}
    row |= {f"threshold_exit_{k}": "0.5" for k in (1, 2)}
    rows_of_tables(exits, [row])
    damaged = {k: v for k, v in {**row, **damage}.items() if v is not None}
    with pytest.raises(InputError, match="of this version: run trainers.evaluate again"):
        rows_of_tables(exits, [damaged])
