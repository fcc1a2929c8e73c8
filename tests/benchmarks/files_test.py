import re

from tests.trainers.programs import refused, run_program

PROGRAM = "benchmarks.files"


def test_a_row_per_way(finished_run, tmp_path):
    run_program("savedmodels.export", "--run_dir", finished_run, "--output", tmp_path / "served")
    finished = run_program(
        PROGRAM,
        *("--model_dir", tmp_path / "served", "--dataset", "digits", "--beam"),
        *("--pictures", "9", "--loop_pictures", "3"),
    )
    assert finished.status == 0, finished.stderr
    _, header, *rows, memory = finished.stdout.splitlines()
    assert header.split() == ["pictures/s", "ratio"]
    assert [row[:28].strip() for row in rows] == [
        *("classify_files", "a picture at a time", "decoding alone", "the network alone"),
        *("both, one after the other", "Beam, DirectRunner"),
    ]
    assert all(float(row[28:].split()[0]) > 0 for row in rows)
    assert float(re.search(r": ([0-9.]+)\.$", memory)[1]) > 0


def test_refuses_litert(converted_run, tmp_path):
    line = refused(tmp_path, PROGRAM, "--model_dir", converted_run)
    assert "`model_dir` must be a network that savedmodels.export wrote." in line
