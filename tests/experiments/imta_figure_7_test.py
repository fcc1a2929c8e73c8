import numpy as np
import pytest
from PIL import Image

from tests.trainers.programs import refused, run_program

PROGRAM = "experiments.imta_figure_7"


def test_accuracy_of_each_tenth(finished_run, tmp_path):
    flags = ("--run_dirs", f"{finished_run},{finished_run}", "--labels", "one,other")
    finished = run_program(PROGRAM, *flags, "--figure", tmp_path / "figure.png")
    assert finished.status == 0, finished.stderr
    table = [line for line in finished.stdout.splitlines() if ", exit " in line]
    one, other = table[: len(table) // 2], table[len(table) // 2 :]
    assert [line.replace("| one,", "| other,") for line in one] == other
    accuracies = np.array([line.split("|")[2:-1] for line in one], "float")
    assert accuracies.shape[1] == 10
    # What it is most sure of it gets right more often than what it is least sure of.
    assert np.all(accuracies[:, 0] >= accuracies[:, -1])
    with Image.open(tmp_path / "figure.png") as figure:
        assert min(figure.size) > 400


@pytest.mark.parametrize(
    ("labels", "received"), [("one", "one"), ("one,one", "one,one"), ("a,b,c", "a,b,c")]
)
def test_refuses_labels(finished_run, tmp_path, labels, received):
    flags = ("--run_dirs", f"{finished_run},{finished_run}", "--labels", labels)
    line = refused(tmp_path, PROGRAM, *flags, "--figure", tmp_path / "figure.png")
    assert f"`labels` must be 2 different ones, one a run. Received: {received}." in line


def test_refuses_other_networks(finished_drnet, static_run, tmp_path):
    for run_dir in (finished_drnet, static_run):
        flags = ("--run_dirs", run_dir, "--figure", tmp_path / "figure.png")
        line = refused(tmp_path, PROGRAM, *flags)
        assert "`run_dirs` must be the run of a network with several exits" in line
