import pytest
from PIL import Image

from tests.trainers.programs import rows
from tf_adaptive.tuning.search_report import write_search_report
from tf_adaptive.tuning.trials import FAILED, FINISHED, Point, Trial


def trial(number, *pairs, status=FINISHED):
    points = tuple(Point("", gflops, accuracy) for gflops, accuracy in pairs)
    objective = pairs[0][1] if pairs else None
    return Trial(number, {"rate": number / 10}, 2, None, status, points, objective, "")


TRIALS = [
    trial(1, (0.04, 80.0)),
    trial(2, (0.05, 79.0)),
    trial(3, status=FAILED),
    trial(4, (0.06, 82.0)),
]
FIXED = [Point("24 pixels", 0.08, 84.0), Point("12 pixels", 0.01, 60.0)]


def test_tables(tmp_path):
    write_search_report(tmp_path, TRIALS, fixed_points=FIXED, target_gflops=0.05)
    table = rows(tmp_path / "trials.csv")
    assert [row["status"] for row in table] == ["finished", "finished", "failed", "finished"]
    assert [row["rate"] for row in table] == ["0.1", "0.2", "0.3", "0.4"]
    assert [row["objective"] for row in table] == ["80.0", "79.0", "", "82.0"]
    pareto = rows(tmp_path / "pareto.csv")
    # The fixed resolutions, cheaper and more accurate, are only beside them.
    assert [(row["trial"], row["on_front"]) for row in pareto] == [
        ("1", "True"),
        ("2", "False"),
        ("4", "True"),
        ("", ""),
        ("", ""),
    ]
    assert [row["name"] for row in pareto][3:] == ["24 pixels", "12 pixels"]
    with Image.open(tmp_path / "pareto.png") as figure:
        assert min(figure.size) > 400


def test_several_points_of_a_trial(tmp_path):
    trials = [trial(1, (0.1, 70.0), (0.3, 80.0)), trial(2, (0.1, 72.0), (0.3, 79.0))]
    write_search_report(tmp_path, trials, fixed_points=())
    assert [row["on_front"] for row in rows(tmp_path / "pareto.csv")] == [
        *("False", "True"),
        *("True", "False"),
    ]
    first, _ = rows(tmp_path / "trials.csv")
    assert float(first["accuracy_percent"]) == 75.0
    assert float(first["mean_gflops"]) == pytest.approx(0.2)


def test_no_trial_is_finished_yet(tmp_path):
    write_search_report(tmp_path, TRIALS[2:3], fixed_points=FIXED)
    assert {path.name for path in tmp_path.iterdir()} == {"trials.csv"}


def test_failing_figure_leaves_the_old_one(tmp_path, second_figure_fails):
    with pytest.raises(OSError, match="No space"):
        for _ in range(2):
            write_search_report(tmp_path, TRIALS, fixed_points=FIXED)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"trials.csv", "pareto.csv", "pareto.png"}
    assert (tmp_path / "pareto.png").read_text() == "half"
