import re

from tests.trainers.programs import run_program

PROGRAM = "benchmarks.deployment"


def test_a_row_per_way_and_the_ratios(finished_run, converted_run):
    finished = run_program(
        PROGRAM,
        *(
            "--run_dir",
            finished_run,
            "--model_dir",
            converted_run,
            "--images",
            "8",
            "--repeats",
            "3",
        ),
    )
    assert (finished.status, finished.stderr) == (0, "")
    _, header, *rows, empty, conclusion = finished.stdout.splitlines()
    assert header.split() == ["ms/image", "ratio"]
    names = ["whole network, LiteRT", "early exit, LiteRT", "SavedModel, TensorFlow"]
    assert [row[:24].strip() for row in rows] == names
    milliseconds, ratios = zip(*([float(n) for n in row[24:].split()] for row in rows), strict=True)
    assert min(milliseconds) > 0
    assert ratios[0] == 1
    shares = re.search(r"Left at each exit: ([0-9. ]+)\. MACs", conclusion)[1].split()
    assert len(shares) == 4
    assert abs(sum(map(float, shares)) - 1) < 0.03
    macs, lazy, seconds = map(float, re.findall(r"(?:ratio|lazy) ([0-9.]+[0-9])", conclusion))
    assert 0 < lazy <= macs <= 1
    assert seconds == ratios[1]
    reached = "within" if seconds <= 1.2 * macs else "above"
    assert conclusion.endswith(f"times the MACs ratio, {reached} the 1.2 aimed at.")


def test_refuses_a_drnet(finished_drnet, converted_run):
    finished = run_program(PROGRAM, "--run_dir", finished_drnet, "--model_dir", converted_run)
    assert finished.status == 2
    assert finished.stderr.startswith("error: `run_dir` must be the run of a network with exits.")


def test_refuses_a_folder_that_is_no_conversion(finished_run, tmp_path):
    finished = run_program(PROGRAM, "--run_dir", finished_run, "--model_dir", tmp_path)
    assert finished.status == 2
    (line,) = finished.stderr.splitlines()
    assert line.startswith(
        "error: The network must be one that savedmodels.export or savedmodels.conv"
    )
