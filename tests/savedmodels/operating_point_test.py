import numpy as np
import pytest

from savedmodels.operating_point import choose_operating_point, read_exit_report
from tf_adaptive.errors import InputError

ANYTIME = [
    {"exit": str(k), "accuracy_percent": percent}
    for k, percent in enumerate(("80.0", "88.0", "90.0"), 1)
]


def budget(mean_macs, percent, *thresholds):
    named = {f"threshold_exit_{k}": str(value) for k, value in enumerate(thresholds, 1)}
    return {
        "measure": "entropy",
        "mean_macs": str(mean_macs),
        "accuracy_percent": str(percent),
        **named,
    }


BUDGETS = [
    budget(2_000_000, 81.0, 0.5, 0.4),
    budget(3_000_000, 89.6, 0.6, 0.5),
    budget(4_000_000, 89.2, 0.65, 0.55),
    budget(5_000_000, 90.4, 0.7, np.float32(0.6)),
    budget(6_000_000, 90.4, 0.8, 0.7),
]


def choose(**options):
    return choose_operating_point(ANYTIME, BUDGETS, **options)


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
    row = next(row for row in BUDGETS if row["mean_macs"] == str(mean_macs))
    assert point.mean_macs == mean_macs
    assert point.accuracy_percent == float(row["accuracy_percent"])
    assert point.thresholds.dtype == np.float32
    expected = [np.float32(row["threshold_exit_1"]), np.float32(row["threshold_exit_2"])]
    np.testing.assert_array_equal(point.thresholds, expected)
    assert "budget" in point.chosen
    assert point.measure == "entropy"


def test_thresholds_as_given():
    point = choose(thresholds=[0.25, 1])
    np.testing.assert_array_equal(point.thresholds, np.float32([0.25, 1]))
    assert point.mean_macs is point.accuracy_percent is None
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


@pytest.mark.parametrize("row", [budget(1, 80.0, 0.5), budget(1, 80.0, 0.5, "none")])
def test_a_report_of_another_network_is_refused(row):
    with pytest.raises(InputError, match="one of this network: run trainers.evaluate again"):
        choose_operating_point(ANYTIME, [row])


def test_a_report_without_its_measure_is_refused():
    row = budget(1, 80.0, 0.5, 0.5)
    del row["measure"]
    with pytest.raises(InputError, match=r"run trainers.evaluate again.*'measure'"):
        choose_operating_point(ANYTIME, [row])


def test_the_report_must_be_of_as_many_exits(finished_run, tmp_path):
    anytime_table, budget_table = read_exit_report(finished_run, 4)
    assert [row["exit"] for row in anytime_table] == ["1", "2", "3", "4"]
    assert {row["measure"] for row in budget_table} == {"max_probability"}
    with pytest.raises(InputError, match="of its network, 3: run trainers.evaluate again.*4 rows"):
        read_exit_report(finished_run, 3)
    with pytest.raises(InputError, match="The run must have a report: run trainers.evaluate"):
        read_exit_report(tmp_path, 4)
