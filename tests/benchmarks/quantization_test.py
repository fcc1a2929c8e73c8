import json
import shutil

import pytest

from tests.trainers.programs import run_program

PROGRAM = "benchmarks.quantization"
FEW = ("--test_images", "30", "--images", "4", "--repeats", "2", "--calibration_images", "20")


def test_a_row_per_precision(finished_run, quantized_run):
    finished = run_program(
        PROGRAM, "--run_dir", finished_run, "--quantized_run_dir", quantized_run, *FEW
    )
    assert (finished.status, finished.stderr) == (0, "")
    _, header, *rows, empty, conclusion = finished.stdout.splitlines()
    assert header.split()[:4] == ["test", "accuracy,", "%", "exit"]
    names = ["float32", "float16", "int8 after training", "int8 trained"]
    assert [row[:20].strip() for row in rows] == names
    columns = [[float(number) for number in row[20:].split()] for row in rows]
    accuracies = [row[:4] for row in columns]
    assert all(0 <= value <= 100 for row in accuracies for value in row)
    sizes, whole, early, exits = zip(*(row[4:] for row in columns), strict=True)
    assert sizes[0] > 1.7 * sizes[1] > 2.5 * sizes[2]
    assert sizes[3] == pytest.approx(sizes[2], rel=0.05)
    assert whole[0] == 1 and min(whole + early) > 0
    assert all(1 <= value <= 4 for value in exits)
    assert conclusion.startswith("On 30 test images. Times are ratios to all stages in float32")


@pytest.mark.parametrize(
    ("run", "quantized", "message"),
    [
        ("finished_drnet", "quantized_run", "`run_dir` must be the run of a network with exits"),
        ("quantized_run", "quantized_run", "`run_dir` must be the run of a network with exits"),
        ("finished_run", "finished_run", "one that trainers.train_quantized wrote."),
    ],
)
def test_other_runs(run, quantized, message, request):
    run, quantized = request.getfixturevalue(run), request.getfixturevalue(quantized)
    finished = run_program(PROGRAM, "--run_dir", run, "--quantized_run_dir", quantized)
    assert finished.status == 2
    (line,) = finished.stderr.splitlines()
    assert message in line


def test_runs_that_do_not_belong_together(tmp_path, finished_run, quantized_run):
    other = shutil.copytree(finished_run, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"train_size": 96}))
    finished = run_program(PROGRAM, "--run_dir", other, "--quantized_run_dir", quantized_run)
    assert finished.status == 2
    assert f"Received: {quantized_run}, which has another network or other data" in finished.stderr
