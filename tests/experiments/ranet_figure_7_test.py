from PIL import Image

from tests.trainers.programs import refused, run_program

PROGRAM = "experiments.ranet_figure_7"


def test_figure(finished_run, tmp_path):
    flags = ("--run_dir", finished_run, "--figure", tmp_path / "figure.png", "--classes", "3")
    finished = run_program(PROGRAM, *flags)
    assert finished.status == 0, finished.stderr
    assert "3 classes, early exit at the " in finished.stdout
    with Image.open(tmp_path / "figure.png") as figure:
        assert min(figure.size) > 500


def test_refuses(finished_drnet, static_run, tmp_path):
    figure = ("--figure", tmp_path / "figure.png")
    for run_dir in (finished_drnet, static_run):
        line = refused(tmp_path, PROGRAM, "--run_dir", run_dir, *figure)
        assert "`run_dir` must be the run of a network with several exits" in line
