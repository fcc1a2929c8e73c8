from tests.trainers.programs import refused, run_program

BENCHMARK = "benchmarks.litert_batches"


def test_every_way_is_timed_and_answers_alike(finished_run, converted_run, tmp_path):
    folder = tmp_path / "batches"
    sizes = ("--batch_sizes", "4", "--test_images", "20")
    converted = run_program(
        "savedmodels.convert_tflite", "--run_dir", finished_run, "--output", folder, *sizes
    )
    assert (converted.status, converted.stderr) == (0, "")
    flags = ("--run_dir", finished_run, "--repeats", "2", "--images", "1,6")
    finished = run_program(BENCHMARK, *flags, "--tflite_dir", folder)
    assert (finished.status, finished.stderr) == (0, "")
    told, _, *rows = finished.stdout.splitlines()
    assert told.partition("batches of LiteRT (threads): ")[2].startswith("1 (")
    assert [row.split()[0] for row in rows] == ["1"] * 3 + ["6"] * 3
    for row in rows:
        *name, milliseconds, ratio = row.split()[1:]
        assert float(milliseconds) > 0 and float(ratio) > 0
        assert name != ["TensorFlow"] or float(ratio) == 1
    line = refused(tmp_path, BENCHMARK, *flags, "--tflite_dir", converted_run)
    assert "must have been converted for batches, with --batch_sizes" in line
