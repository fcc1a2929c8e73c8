import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.trainers.programs import files, refused, rows, run_program
from tf_adaptive import InputError, load_run
from tf_adaptive.reports.logits import collect_logits
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import load_finished_run


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


def test_thresholds_are_chosen_on_pictures_of_one_s_own(tmp_path, finished_run):
    run_dir = shutil.copytree(finished_run, tmp_path / "run")
    pictures = tmp_path / "mine"
    written = run_program(
        "trainers.write_pictures",
        *("--run_dir", run_dir, "--output", pictures, "--count", "40"),
    )
    assert written.status == 0, written.stderr
    arguments = ("--run_dir", run_dir, "--calibrate_on", f"folder:{pictures}")
    finished = run_program("trainers.evaluate", *arguments)
    assert finished.status == 0, finished.stderr
    count = len(list(pictures.glob("*.png")))
    assert f"thresholds were chosen on the {count} pictures of mine." in finished.stdout
    report = run_dir / "report"
    assert {row["calibrated_on"] for row in rows(report / "anytime.csv")} == {
        f"{count} pictures of mine"
    }
    # Without labels, there is nothing to be right about but the last exit's answers.
    assert {row["tested_spoiled"] for row in rows(report / "promise.csv")} == {""}
    splits = {row["split"]: row["images"] for row in rows(report / "splits.csv")}
    assert (splits["train"], splits["calibration"]) == ("128", str(count))
    # The network and its exits are the same.
    for before, after in zip(
        rows(finished_run / "report" / "anytime.csv"), rows(report / "anytime.csv"), strict=True
    ):
        assert before["accuracy_percent"] == after["accuracy_percent"]
        assert before["temperature"] == after["temperature"]


def test_pictures_of_one_s_own_that_cannot_be_used(tmp_path, finished_run, finished_drnet):
    for name in ("0", "1"):
        (tmp_path / "few" / name).mkdir(parents=True)
        Image.new("L", (24, 24)).save(tmp_path / "few" / name / "a.png")
    before = files(finished_run)

    def line(run_dir, where):
        finished = run_program("trainers.evaluate", "--run_dir", run_dir, "--calibrate_on", where)
        assert finished.status == 2 and files(finished_run) == before
        return [line for line in finished.stderr.splitlines() if line.startswith("error: ")][0]

    few = f"folder:{tmp_path / 'few'}"
    assert "must be at least as many as the 10 classes" in line(finished_run, few)
    assert "must be folder:PATH" in line(finished_run, "photos")
    assert "`calibrate_on` must not be given for a DRNet" in line(finished_drnet, few)


@pytest.fixture(scope="module")
def compared(tmp_path_factory, finished_run, static_run):
    """What the program printed, and a copy of the run with the comparison and the times."""
    run_dir = shutil.copytree(finished_run, tmp_path_factory.mktemp("compared") / "run")
    finished = run_program(
        "trainers.evaluate",
        "--run_dir",
        run_dir,
        "--static_runs",
        static_run,
        *("--latency", "batch_size=1,batch_size=64"),
    )
    assert (finished.status, finished.stderr) == (0, "")
    return finished.stdout, run_dir


def right(run_dir):
    """Which of the test images each exit of a run gets right."""
    config, model = load_finished_run(run_dir)
    logits, labels = collect_logits(model, load_run_dataset(config).batches("test", 256))
    return logits.argmax(-1) == labels


def test_static_run_beside_early_exit(compared, finished_run, static_run):
    stdout, run_dir = compared
    (row,) = rows(run_dir / "report" / "static_comparison.csv")
    (static,) = rows(static_run / "report" / "anytime.csv")
    first, *_ = rows(finished_run / "report" / "anytime.csv")
    assert (row["name"], row["on_line"]) == ("static", "yes")
    assert row["macs"] == static["macs"]
    assert row["accuracy_percent"] == static["accuracy_percent"]
    assert int(static["macs"]) < int(first["macs"])
    assert row["adaptive_network"] == "cheaper than early exit can be"
    sentence = (run_dir / "report" / "static_comparison.txt").read_text().strip()
    assert sentence.startswith("The adaptive network ")
    assert sentence in stdout
    # At its operating point it is compared with the one static network, which is cheaper.
    ours = 100 * np.mean(right(static_run))
    assert f"static at {int(static['macs']) / 1e6:.2f} M MACs {ours:.2f} %" in sentence
    before, after = (files(folder / "report") for folder in (finished_run, run_dir))
    assert after["anytime.csv"] == before["anytime.csv"]
    assert after["accuracy_against_macs.png"] != before["accuracy_against_macs.png"]


def test_times_are_of_exits_early_exit_and_static_networks(compared):
    stdout, run_dir = compared
    table = rows(run_dir / "report" / "latency.csv")
    names = [f"exit {number}" for number in (1, 2, 3)]
    names += ["exit 4, the whole network", "early exit", "static"]
    assert [(row["batch_size"], row["network"]) for row in table] == [
        (size, name) for size in ("1", "64") for name in names
    ]
    exits = rows(run_dir / "report" / "anytime.csv")
    for row, exit_row in zip(table, exits, strict=False):
        assert row["accuracy_percent"] == exit_row["accuracy_percent"]
    for row in table:
        assert 0 < float(row["median_ms"]) <= float(row["percentile_95_ms"])
        per_image = float(row["median_ms"]) / int(row["batch_size"])
        assert float(row["median_ms_per_image"]) == pytest.approx(per_image, abs=1e-4)
        assert f"{float(row['median_ms']):.2f}" in stdout
    with Image.open(run_dir / "report" / "accuracy_against_latency.png") as figure:
        assert min(figure.size) > 800


def test_an_operating_point_in_milliseconds(compared):
    _, run_dir = compared
    point = load_run(run_dir).operating_point(latency_ms=1000)
    times = [float(row["median_ms"]) for row in rows(run_dir / "report" / "latency.csv")[:4]]
    assert point.mean_ms == pytest.approx(np.dot(point.shares, times), rel=1e-3)
    assert point.chosen.startswith("the most accurate budget of at most 1000 ms (mean of the")
    slow = load_run(run_dir).operating_point(latency_ms=1000, latency_by="percentile_95")
    assert slow.percentile_95_ms in [
        float(row["percentile_95_ms"]) for row in rows(run_dir / "report" / "latency.csv")[:4]
    ]
    with pytest.raises(InputError, match="`latency_ms` must be at least that of the report's fas"):
        load_run(run_dir).operating_point(latency_ms=1e-6)


def test_times_in_litert(tmp_path, finished_run):
    run_dir = shutil.copytree(finished_run, tmp_path / "run")
    settings = "engine=litert,threads=1"
    finished = run_program("trainers.evaluate", "--run_dir", run_dir, "--latency", settings)
    assert (finished.status, finished.stderr) == (0, "")
    table = rows(run_dir / "report" / "latency.csv")
    assert [row["exit"] for row in table] == ["1", "2", "3", "4", ""]
    assert {(row["engine"], row["threads"], row["batch_size"]) for row in table} == {
        ("litert", "1", "1")
    }
    assert float(table[0]["median_ms"]) < float(table[3]["median_ms"])
    # The same times, brought from elsewhere, choose the same thresholds.
    expected = load_run(run_dir).operating_point(latency_ms=1000)
    elsewhere = shutil.copy(run_dir / "report" / "latency.csv", tmp_path / "phone.csv")
    finished = run_program("trainers.evaluate", "--run_dir", run_dir, "--latency_csv", elsewhere)
    assert (finished.status, finished.stderr) == (0, "")
    point = load_run(run_dir).operating_point(latency_ms=1000)
    assert point.description() == expected.description()


def test_times_that_cannot_be_had(tmp_path, finished_run, static_run):
    run_dir = shutil.copytree(finished_run, tmp_path / "run")

    def line(*arguments):
        finished = run_program("trainers.evaluate", "--run_dir", run_dir, *arguments)
        assert finished.status == 2
        return finished.stderr.splitlines()[-1]

    assert "Did you mean 'threads'?" in line("--latency", "thread=1")
    assert "whole numbers of images and threads. Received: 'two'" in line(
        "--latency", "threads=two"
    )
    assert "`engine` must be one of tensorflow, litert" in line("--latency", "engine=onnx")
    assert "`batch_size` must be 1 for LiteRT" in line("--latency", "engine=litert,batch_size=2")
    assert "one threads and one engine" in line("--latency", "threads=1,threads=2")
    assert "engine=tensorflow with `static_runs`" in line(
        "--latency", "engine=litert", "--static_runs", static_run
    )
    assert "`latency_csv` must be a file" in line("--latency_csv", tmp_path / "nowhere.csv")
    other = tmp_path / "other.csv"
    other.write_text("exit,macs,median_ms,percentile_95_ms\n1,1000,1,1\n2,2000,2,2\n")
    assert "must be of this network, whose exits and MACs are 1: " in line("--latency_csv", other)
    other.write_text("exit,milliseconds\n1,1\n")
    assert "must have the columns exit, macs, median_ms" in line("--latency_csv", other)


def test_a_report_without_them_leaves_none_of_an_older_one(tmp_path, compared, finished_run):
    run_dir = shutil.copytree(compared[1], tmp_path / "run")
    finished = run_program("trainers.evaluate", "--run_dir", run_dir)
    assert finished.status == 0, finished.stderr
    assert files(run_dir / "report").keys() == files(finished_run / "report").keys()


def test_times_of_a_network_with_one_exit(tmp_path, static_run):
    run_dir = shutil.copytree(static_run, tmp_path / "run")
    finished = run_program("trainers.evaluate", "--run_dir", run_dir, "--latency", "batch_size=1")
    assert (finished.status, finished.stderr) == (0, "")
    assert [row["network"] for row in rows(run_dir / "report" / "latency.csv")] == ["exit 1"]
    assert not (run_dir / "report" / "accuracy_against_latency.png").exists()


def test_static_runs_that_cannot_be_compared(tmp_path, finished_run, finished_drnet, static_run):
    run_dir = shutil.copytree(finished_run, tmp_path / "run")

    def line(static, run_dir=run_dir):
        return refused(run_dir, "trainers.evaluate", "--run_dir", run_dir, "--static_runs", static)

    assert "must be the directory of a run" in line(tmp_path / "nowhere")
    for several in (run_dir, finished_drnet):
        assert "runs of networks with one exit" in line(several)
    for one in (static_run, finished_drnet):
        assert "`run_dir` must be the run of a network with several" in line(static_run, one)
    other = shutil.copytree(static_run, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"dataset": "digit"}))
    assert "Did you mean 'digits'" in line(other)
