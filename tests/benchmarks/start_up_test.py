import re

from tests.trainers.programs import refused, run_program

START_UP = "benchmarks.start_up"


def test_what_is_started_and_what_it_takes(converted_run, tmp_path):
    picture = tmp_path / "none.png"
    finished = run_program(
        START_UP, "--tflite_dir", converted_run, "--picture", picture, "--only", "run.py"
    )
    assert finished.status == 2
    assert "Every start must succeed. Received: of run.py of the converted folder, " in (
        finished.stderr
    )
    finished = run_program(START_UP, "--only", "import tf_", "--repeats", "1")
    assert (finished.status, finished.stderr) == (0, "")
    _, _, *rows = finished.stdout.splitlines()
    times = {re.split("  +", row)[0]: row.split()[-3:] for row in rows}
    assert list(times) == ["import tensorflow", "import tf_adaptive"]
    (_, whole, most), (_, ratio, megabytes) = times.values()
    assert float(whole) == 1 and float(ratio) < 1 and 0 < float(megabytes) < float(most)


def test_wrong_flags(tmp_path, converted_run):
    line = refused(tmp_path, START_UP, "--tflite_dir", converted_run)
    assert "`picture` must be given for networks to classify" in line
    line = refused(tmp_path, START_UP, "--only", "nothing")
    assert "`only` must be parts of what is started, as import" in line
    line = refused(tmp_path, START_UP, "--repeats", "0")
    assert "`repeats` must be a whole number from 1 on" in line
