import pytest
from PIL import Image

from tests.trainers.programs import refused, rows, run_program

SMALL = (
    *("--dataset", "digits", "--image_size", "96", "--train_size", "64", "--scale", "small"),
    *("--seeds", "0"),
)


@pytest.mark.large
def test_targets_and_weights(tmp_path):
    flags = ("--runs_dir", tmp_path, *SMALL, "--targets", "0.03,0.06", "--weights", "0.2")
    finished = run_program("experiments.drnet_table_2", *flags)
    assert finished.status == 0, finished.stderr
    first, second = (
        line for line in finished.stdout.splitlines() if line.startswith("trainers.train_drnet")
    )
    assert "--stage_1_from" not in first and "--stage_1_from" in second
    table = rows(tmp_path / "table_2.csv")
    assert [cell["column"] for cell in table[:5]] == [
        *("M MACs", "top-1 accuracy (%)"),
        *(f"images at {resolution} (%)" for resolution in (96, 72, 48)),
    ]
    assert sum(float(cell["mean"]) for cell in table[2:5]) == pytest.approx(100, abs=0.01)
    assert Image.open(tmp_path / "figure_3.png").format == "PNG"


@pytest.mark.large
def test_other_ways_to_cost_less(tmp_path):
    finished = run_program("experiments.drnet_table_1", "--runs_dir", tmp_path, *SMALL)
    assert finished.status == 0, finished.stderr
    table = rows(tmp_path / "table_1.csv")
    assert [cell["row"] for cell in table[::2]] == [
        *("96 pixels", "82 pixels", "3/4 of the width", "DRNet", "DRNet, shared batch norm")
    ]
    whole, smaller, narrower = (float(cell["mean"]) for cell in table[:6:2])
    assert smaller < whole and narrower < whole


@pytest.mark.parametrize(
    ("program", "flags", "message"),
    [
        ("drnet_table_1", ("--scale", "tiny"), "`scale` must be one of paper, small"),
        ("drnet_table_2", ("--targets", "0"), "`targets` must be finite and above 0"),
        ("drnet_table_2", ("--weights", "-1"), "`weights` must be finite and at least 0"),
    ],
)
def test_refuses(tmp_path, program, flags, message):
    directory = ("--runs_dir", tmp_path / "runs")
    assert message in refused(tmp_path, f"experiments.{program}", *directory, *flags)
