from tests.trainers.programs import refused, run_program

PROGRAM = "benchmarks.watching"


def test_streams(finished_run):
    finished = run_program(
        PROGRAM,
        # Of so barely trained a network nothing better can be promised.
        *("--run_dir", finished_run, "--risk", "0.9", "--streams", "3", "--images", "2000"),
        *("--shadow_share", "0.1"),
    )
    assert finished.status == 0, finished.stderr
    first, clean, blurred = finished.stdout.splitlines()
    assert first.startswith("Early exit loses at most 90 points of accuracy against the last exit")
    assert clean.startswith("clean: ") and "of 3 streams of 2,000" in clean
    assert blurred.startswith("blurred: ") and "of 3 streams of 2,000" in blurred


def test_refusals(finished_run, finished_drnet, tmp_path):
    line = run_program(PROGRAM, "--run_dir", finished_drnet).stderr
    assert "must be the run of a network with exits" in line
    assert "`streams` must be a whole number from 1 on" in refused(
        tmp_path, PROGRAM, "--run_dir", finished_run, "--streams", "0"
    )
