"""The program on real files: what it prints, and that it says what it could not read."""

import functools
import json
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from savedmodels import predict
from savedmodels.picture_files import MAX_FILE_BYTES
from tests.trainers.programs import REPOSITORY, refused, run_program
from tf_adaptive.exits.evaluation import confidences_of_exits
from tf_adaptive.exits.thresholds import choose_exits
from tf_adaptive.pictures import MAX_PIXELS

PREDICT = "savedmodels.predict"
IMAGES = 12


@pytest.fixture(scope="module")
def pictures(network, tmp_path_factory):
    """A folder with the first test images, in two folders, and what is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "more").mkdir()
    for number, picture in enumerate(network.pictures[:IMAGES]):
        parent = folder if number < IMAGES // 2 else folder / "more"
        (parent / f"{number:02}.png").write_bytes(tf.io.encode_png(picture).numpy())
    (folder / "notes.txt").write_text("none")
    return folder


@pytest.fixture(scope="module")
def expected(network, served):
    """Exit, class and confidence of each picture at the thresholds of the served network."""
    description = served / "exits/1/assets.extra/description.json"
    thresholds = json.loads(description.read_text())["thresholds"]
    confidences = confidences_of_exits(network.scaled[:, :IMAGES])
    exits = choose_exits(confidences, thresholds)
    place = exits - 1, np.arange(IMAGES)
    return list(zip(exits, network.scaled[place].argmax(-1), confidences[place], strict=True))


def in_process(*arguments):
    """The program in a process of its own, to talk to."""
    return subprocess.Popen(
        [sys.executable, "-m", PREDICT, *map(str, arguments)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # What runs in a shell's background is started deaf to Ctrl-C.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def test_json_lines(pictures, served, expected, network):
    finished = run_program(PREDICT, "--model_dir", served / "exits/1", "--json", pictures)
    assert (finished.status, finished.stderr) == (0, "")
    rows = [json.loads(line) for line in finished.stdout.splitlines()]
    assert [row["path"] for row in rows] == sorted(map(str, pictures.rglob("*.png")))
    for row, (exit, class_number, confidence) in zip(rows, expected, strict=True):
        assert list(row) == ["path", "class", "label", "confidence", "exit", "seconds"]
        assert (row["exit"], row["class"]) == (exit, class_number)
        assert row["label"] == network.dataset.class_names[class_number]
        assert row["confidence"] == pytest.approx(confidence, abs=1e-5)
        assert 0 < row["seconds"] < 60


def test_aligned_lines_and_what_cannot_be_read(
    pictures, converted_run, expected, network, tmp_path
):
    shutil.copytree(pictures, tmp_path / "given")
    (tmp_path / "given/03.png").write_bytes((pictures / "03.png").read_bytes()[:-20])
    (tmp_path / "given/3b.JPEG").write_bytes(b"")
    (tmp_path / "none").mkdir()
    (tmp_path / "two\nlines.png").write_bytes(b"text")
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    names = ("none", "missing.jpg", "large.jpg", "two\nlines.png", "given")
    finished = run_program(
        PREDICT, "--model_dir", converted_run, *(tmp_path / name for name in names)
    )
    assert finished.status == 1
    reasons = finished.stderr.splitlines()
    for line, (path, reason) in zip(
        reasons,
        [
            (f"{tmp_path}/none: ", "A folder must hold pictures"),
            (f"{tmp_path}/missing.jpg: ", "No such file or directory"),
            (f"{tmp_path}/large.jpg: ", f"at most {MAX_FILE_BYTES} bytes. Received: at least"),
            (
                rf"'{tmp_path}/two\nlines.png': ",
                "must be a BMP, GIF, JPEG, PNG or WebP file. Received: ",
            ),
            (
                f"{tmp_path}/given/03.png: ",
                "must be a whole BMP, GIF, JPEG, PNG or WebP file. Received: ",
            ),
            (
                f"{tmp_path}/given/3b.JPEG: ",
                "must be a BMP, GIF, JPEG, PNG or WebP file. Received: ",
            ),
            ("", "6 of 17 could not be read"),
        ],
        strict=True,
    ):
        assert line.startswith(path)
        assert reason in line
    lines = finished.stdout.splitlines()
    read = [number for number in range(IMAGES) if number != 3]
    for line, number in zip(lines, read, strict=True):
        exit, class_number, confidence = expected[number]
        path, label, said, place, milliseconds = re.split("  +", line)
        assert path.endswith(f"/{number:02}.png")
        assert label == network.dataset.class_names[class_number]
        assert float(said) == pytest.approx(confidence, abs=6e-4)
        assert place == f"exit {exit}"
        assert re.fullmatch(r"\d+\.\d\d ms", milliseconds)
    assert len({line.index("  exit ") for line in lines}) == 1


def test_standard_input_and_a_reader_that_stops(pictures, served):
    # More lines than a pipe holds.
    process = in_process("--model_dir", served / "drnet", "--json", "-", *[pictures] * 200)
    process.stdin.write((pictures / "00.png").read_bytes())
    process.stdin.close()
    row = json.loads(process.stdout.readline())
    assert row["path"] == "-"
    assert row["resolution"] in (24, 16, 12)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == -signal.SIGPIPE


def test_ctrl_c(pictures, converted_run):
    thresholds = ("--thresholds", "1,0,1")
    process = in_process("--model_dir", converted_run, *thresholds, *[pictures] * 1000)
    assert b"exit 2" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert (process.returncode, stderr) == (130, b"\ninterrupted\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "There must be pictures beside the flags: files, folders, or -"),
        (["--thresholds", "0.5,half,0.5", "a.png"], "`thresholds` must be numbers with commas"),
        (["--thresholds", "0.5", "a.png"], "`thresholds` must hold 3 numbers"),
        (["--jsom", "a.png"], "Unknown command line flag 'jsom'. Did you mean: json ?"),
    ],
)
def test_wrong_usage(tmp_path, converted_run, arguments, message):
    assert message in refused(tmp_path, PREDICT, "--model_dir", converted_run, *arguments)


def test_folders_that_are_no_model(tmp_path):
    line = refused(tmp_path, PREDICT, "--model_dir", tmp_path, "a.png")
    assert "`model_dir` must be a folder that savedmodels.export or" in line


def test_the_help_has_the_limits():
    assert f"at most {MAX_PIXELS:,} pixels and {MAX_FILE_BYTES:,} bytes" in predict.__doc__
