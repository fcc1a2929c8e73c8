from tests.trainers.programs import refused, run_program

PROGRAM = "benchmarks.operating_points"


def test_methods_and_trials(finished_run):
    finished = run_program(
        PROGRAM,
        *("--run_dirs", finished_run, "--drops", "1,5", "--trials", "20"),
        *("--risks", "0.05,0.3", "--images", "200"),
    )
    assert finished.status == 0, finished.stderr
    _, _, *rows = finished.stdout.splitlines()
    for row, drop in zip(rows[:2], ("1", "5"), strict=True):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert (cells[0], cells[1]) == (str(finished_run), drop)
        costs = [float(cell.split(",")[0]) for cell in cells[2:4]]
        assert float(cells[4]) == round(float(cells[4]), 3) and min(costs) > 0
    assert len(rows) == 4
    for row, points in zip(rows[2:], ("5", "30"), strict=True):
        assert f"at most {points} points, 20 trials of 200 images: with the promise broken" in row


def test_more_images_than_there_are(finished_run, tmp_path):
    line = run_program(
        PROGRAM, "--run_dirs", finished_run, "--trials", "1", "--images", "100000"
    ).stderr
    assert "`images` must be a whole number from 1 to" in line
    assert "`trials` must be a whole number from 0 on" in refused(
        tmp_path, PROGRAM, "--run_dirs", finished_run, "--trials", "-1"
    )
