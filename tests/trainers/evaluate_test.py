import shutil

from tests.trainers.programs import files, run_program


def test_writes_the_report_again(tmp_path, finished_run):
    run_dir = shutil.copytree(finished_run, tmp_path / "moved")
    shutil.rmtree(run_dir / "report")
    finished = run_program("trainers.evaluate", "--run_dir", run_dir)
    assert finished.status == 0, finished.stderr
    before, after = files(finished_run), files(run_dir)
    assert after.keys() == before.keys()
    changed = [name for name in after if after[name] != before[name]]
    # Matplotlib need not draw the same bytes twice; numbers are numbers.
    assert all(name.endswith(".png") for name in changed)

    accuracy = before["report/anytime.csv"].decode().splitlines()[-1].rsplit(",", 1)[1]
    assert f"{float(accuracy):.2f} %" in finished.stdout
    assert f"Tables and figures: {run_dir / 'report'}" in finished.stdout


def test_another_measure_gives_other_thresholds_for_the_same_exits(tmp_path, finished_run):
    run_dir = shutil.copytree(finished_run, tmp_path / "run")
    arguments = ("--run_dir", run_dir, "--measure", "margin", "--batch_size", "100")
    finished = run_program("trainers.evaluate", *arguments)
    assert finished.status == 0, finished.stderr
    before, after = files(finished_run / "report"), files(run_dir / "report")
    assert after["anytime.csv"] == before["anytime.csv"]
    assert after["budgeted.csv"] != before["budgeted.csv"]
