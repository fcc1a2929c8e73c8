import json
import shutil
import zipfile

import numpy as np
import pytest

import tf_adaptive as ta
from tests.trainers.programs import REPOSITORY, files, refused, rows, run_program
from tf_adaptive.data.checked_files import CACHE_VARIABLE
from tf_adaptive.files import sha256_of
from tf_adaptive.runs.directory import read_config

LICENSE = ("--license_file", REPOSITORY / "LICENSE")


@pytest.fixture
def run(release, tmp_path, monkeypatch):
    """The released network with exits, loaded."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return ta.load_weights("msdnet_digits", release)


def test_the_files(release):
    index = json.loads((release / "weights.json").read_text())
    assert list(index) == ["msdnet_digits", "drnet_digits"]
    for name, described in index.items():
        path = release / f"{name}.zip"
        assert described == {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        with zipfile.ZipFile(path) as archive:
            held = set(archive.namelist())
        assert held > {"LICENSE", "config.json", "model.keras", "model_card.md"}
        assert not [name for name in held if name.endswith((".png", ".html"))]
    assert len(list(release.iterdir())) == 3
    table = (release.parent / "stdout").read_text().splitlines()
    assert [line.split()[0] for line in table[2:4]] == ["msdnet_digits", "drnet_digits"]
    assert all(" 0.00 points " in line for line in table[2:4])


def test_a_released_run_is_the_run_s(run, finished_run):
    ours, theirs = run.run_dir, finished_run
    assert (ours / "model.keras").read_bytes() == (theirs / "model.keras").read_bytes()
    assert (ours / "LICENSE").read_bytes() == (REPOSITORY / "LICENSE").read_bytes()
    for table in ("anytime", "budgeted", "optimal", "promise"):
        assert rows(ours / f"report/{table}.csv") == rows(theirs / f"report/{table}.csv")
    before = read_config(theirs)
    assert run.config == {**before, "run_dir": "msdnet_digits"}
    assert str(theirs.parent) not in (ours / "config.json").read_text()


def test_the_card(run, finished_run):
    card = (run.run_dir / "model_card.md").read_text()
    for row in rows(finished_run / "report/anytime.csv"):
        assert f"| {row['exit']} | {int(row['macs']) / 1e6:.2f} |" in card
    assert f"mean {run.config['mean']} and standard deviation {run.config['std']}" in card
    assert "Weights are those of the training to the bit" in card
    assert 'ta.load_weights("msdnet_digits")' in card
    point = run.operating_point(accuracy_drop=5)
    assert f"| `accuracy_drop=5` | {point.accuracy_percent:.2f} % | " in card


def test_programs_take_it(run, tmp_path):
    finished = run_program(
        "savedmodels.export", "--run_dir", run.run_dir, "--output", tmp_path / "served"
    )
    assert (finished.status, finished.stderr) == (0, "")
    before = rows(run.run_dir / "report/anytime.csv")
    assert run_program("trainers.evaluate", "--run_dir", run.run_dir).status == 0
    assert rows(run.run_dir / "report/anytime.csv") == before


def test_in_float16(finished_run, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    finished = run_program(
        "savedmodels.write_weights",
        *("--run_dirs", finished_run, "--names", "half", "--output", tmp_path / "half"),
        *(*LICENSE, "--dtype", "float16"),
    )
    assert finished.status == 0, finished.stderr
    half, run = ta.load_weights("half", tmp_path / "half"), ta.load_run(finished_run)
    for ours, theirs in zip(half.model.weights, run.model.weights, strict=True):
        expected = np.asarray(theirs)
        if expected.ndim > 1:
            expected = expected.astype("float16").astype("float32")
        np.testing.assert_array_equal(ours, expected)
    with zipfile.ZipFile(tmp_path / "half/half.zip") as archive:
        stored = archive.getinfo("model.keras").compress_size
    assert stored < 0.75 * (finished_run / "model.keras").stat().st_size
    card = (half.run_dir / "model_card.md").read_text()
    assert "Kernels are rounded to float16" in card


def test_refused(finished_run, tmp_path):
    other = shutil.copytree(finished_run, tmp_path / "other")
    table = (other / "report/anytime.csv").read_text().splitlines()
    cells = table[1].split(",")
    cells[-1] = f"{float(cells[-1]) + 0.5:.4f}"
    (other / "report/anytime.csv").write_text("\n".join([table[0], ",".join(cells), *table[2:]]))
    bare = shutil.copytree(finished_run, tmp_path / "bare")
    shutil.rmtree(bare / "report")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine.txt").touch()

    def line(**changed):
        flags = {
            **{"run_dirs": finished_run, "names": "mine", "output": tmp_path / "new"},
            **{"license_file": REPOSITORY / "LICENSE", **changed},
        }
        arguments = [text for flag, value in flags.items() for text in (f"--{flag}", value)]
        return refused(tmp_path, "savedmodels.write_weights", *arguments)

    assert "as accurate as its report says, to 0 points" in line(run_dirs=other)
    assert "Received: 0.50 points." in line(run_dirs=other)
    assert "must have a report" in line(run_dirs=bare)
    assert "`names` must be as many as `run_dirs`, 1," in line(names="one,two")
    assert "`names` must be of small letters" in line(names="../mine")
    assert "which holds 'mine.txt'" in line(output=tmp_path / "taken")
    assert "`license_file` must be a file" in line(license_file=tmp_path / "none")
    assert "`dtype` must be one of float32, float16" in line(dtype="int8")


def test_a_release_is_replaced_whole(release, finished_run, tmp_path):
    own = shutil.copytree(release, tmp_path / "own")
    before = files(own)
    arguments = ("--run_dirs", finished_run, "--output", own, *LICENSE)
    # No file may be as large as the network.
    failed = run_program(
        "savedmodels.write_weights", *arguments, "--names", "mine", file_bytes=100_000
    )
    assert failed.status == 1 and "File too large" in failed.stderr
    assert files(own) == before and list(tmp_path.iterdir()) == [own]
    finished = run_program("savedmodels.write_weights", *arguments, "--names", "mine")
    assert finished.status == 0
    assert sorted(files(own)) == ["mine.zip", "weights.json"]
