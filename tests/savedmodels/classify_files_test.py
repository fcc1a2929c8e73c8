"""The program: each picture once, with the answer that it gets alone, however the job went."""

import csv
import io
import json
import os
import shutil
import tarfile

import numpy as np
import pyarrow.parquet
import pytest
import tensorflow as tf

from savedmodels.classifiers import load_classifier
from tests.trainers.programs import kill_program_at, refused, run_program
from tf_adaptive import profile
from tf_adaptive.exits.evaluation import confidences_of_exits

CLASSIFY = "savedmodels.classify_files"
IMAGES = 23
# Between others, so that a batch has answers on both sides.
BAD = (5, 6, 19)


@pytest.fixture(scope="module")
def files(network):
    """By name, the files of the first test images, three of them damaged."""
    contents = {}
    for number, picture in enumerate(network.pictures[:IMAGES]):
        content = tf.io.encode_png(picture).numpy()
        contents[f"{number:02}.png"] = content[:-20] if number in BAD else content
    return contents


@pytest.fixture(scope="module")
def pictures(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def thresholds(network):
    """At which half of the images leave at each exit, between the confidences of two of them."""
    confidences = np.sort(confidences_of_exits(network.scaled[:-1, :IMAGES]))
    return confidences[:, IMAGES // 2 : IMAGES // 2 + 2].mean(axis=1).tolist()


@pytest.fixture(scope="module")
def alone(files, served, thresholds):
    """By name, the answer that each picture gets alone."""
    classify = load_classifier(served / "exits/1", thresholds=thresholds)
    good = [name for number, name in enumerate(files) if number not in BAD]
    answers = {name: classify(files[name]) for name in good}
    assert len({answer["exit"] for answer in answers.values()}) > 1
    return answers


@pytest.fixture(scope="module")
def asked(served, thresholds):
    """A function that gives the flags of a job of the network with exits."""

    def flags_of(given, output, *more):
        chosen = ("--thresholds", ",".join(map(str, thresholds)))
        return flags(given, served / "exits/1", output, *chosen, *more)

    return flags_of


def flags(given, model_dir, output, *more):
    return ("--input", given, "--model_dir", model_dir, "--output", output, *more)


def rows_of(output, rows_as):
    rows = []
    for part in sorted(output.glob(f"part-*.{rows_as}")):
        if rows_as == "parquet":
            rows += pyarrow.parquet.read_table(part).to_pylist()
        elif rows_as == "jsonl":
            rows += map(json.loads, part.read_text().splitlines())
        else:
            rows += csv.DictReader(io.StringIO(part.read_text()))
    return rows


def failed_in(output):
    return [
        json.loads(line)
        for part in sorted(output.glob("failed-*.jsonl"))
        for line in part.read_text().splitlines()
    ]


def assert_as_alone(rows, alone):
    assert [row["path"].rpartition("/")[2] for row in rows] == list(alone)
    for row, answer in zip(rows, alone.values(), strict=True):
        assert list(row) == ["path", *answer]
        assert (int(row["class"]), row["label"]) == (answer["class"], answer["label"])
        assert int(row["exit"]) == answer["exit"]
        assert float(row["confidence"]) == pytest.approx(answer["confidence"], abs=1e-5)


@pytest.mark.parametrize("rows_as", ["jsonl", "csv", "parquet"])
def test_each_picture_once_as_alone(asked, pictures, alone, network, tmp_path, rows_as):
    output = tmp_path / "out"
    more = ("--format", rows_as, "--batch_size", "4", "--part_size", "10")
    finished = run_program(CLASSIFY, *asked(f"{pictures}/*.png", output, *more))
    assert (finished.status, finished.stderr) == (1, "")
    assert "20 images classified, 3 could not be read." in finished.stdout
    rows = rows_of(output, rows_as)
    assert_as_alone(rows, alone)
    failed = failed_in(output)
    assert [row["path"] for row in failed] == [f"{pictures}/{number:02}.png" for number in BAD]
    assert all("must be a whole BMP, GIF" in row["reason"] for row in failed)
    exits = np.array([int(row["exit"]) for row in rows])
    macs = [cost.macs for cost in profile(network.model)]
    assert json.loads((output / "summary.json").read_text()) == {
        **{"images": 20, "failed": 3},
        "left_at": {str(exit): int(np.sum(exits == exit)) for exit in sorted(set(exits))},
        "mean_macs": pytest.approx(np.take(macs, exits - 1).mean()),
        "whole_network_macs": macs[-1],
    }


def test_lists_and_folders(asked, pictures, alone, tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"{pictures}/{name}\n" for name in alone))
    for number, given in enumerate((tmp_path / "list.txt", pictures)):
        output = tmp_path / f"out_{number}"
        run_program(CLASSIFY, *asked(given, output))
        assert_as_alone(rows_of(output, "jsonl"), alone)


def test_a_name_that_is_no_text(asked, pictures, tmp_path):
    (tmp_path / "odd").mkdir()
    for name in (b"\xff.png", b"good.png"):
        shutil.copy(pictures / "00.png", os.fsencode(tmp_path / "odd") + b"/" + name)
    run_program(CLASSIFY, *asked(tmp_path / "odd", tmp_path / "out", "--format", "parquet"))
    assert len(rows_of(tmp_path / "out", "parquet")) == 1
    (failed,) = failed_in(tmp_path / "out")
    assert failed["reason"] == "A picture's name must be UTF-8. Received: other bytes."


def test_tar_files(asked, files, alone, tmp_path):
    names = list(files)
    for number in range(2):
        with tarfile.open(tmp_path / f"shard-{number}.tar", "w") as tar:
            for name in names[number::2]:
                for member, content in ((name, files[name]), (f"{name}.json", b"{}")):
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    output = tmp_path / "out"
    more = ("--part_size", "7")
    run_program(CLASSIFY, *asked(f"{tmp_path}/*.tar", output, *more))
    rows = rows_of(output, "jsonl")
    assert len(failed_in(output)) == len(BAD)
    in_order = [name for half in (names[::2], names[1::2]) for name in half if name in alone]
    assert [row["path"].rpartition(":")[2] for row in rows] == in_order
    assert [row["class"] for row in rows] == [alone[name]["class"] for name in in_order]


def test_tfrecord_files(asked, files, alone, tmp_path):
    path = tmp_path / "images.tfrecord-00000-of-00001"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, content in [*files.items(), ("none.png", None)]:
            values = {"image/filename": name.encode()}
            if content is not None:
                values["image/encoded"] = content
            features = {
                key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                for key, value in values.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    output = tmp_path / "out"
    run_program(CLASSIFY, *asked(path, output))
    rows = rows_of(output, "jsonl")
    assert [row["path"].rpartition(":")[2] for row in rows] == list(alone)
    assert [row["class"] for row in rows] == [answer["class"] for answer in alone.values()]
    assert "must hold an image's file" in failed_in(output)[-1]["reason"]
    path.write_bytes(path.read_bytes()[:-30])
    finished = run_program(CLASSIFY, *asked(path, tmp_path / "damaged"))
    assert finished.status == 2
    assert "A file of `input` must be whole." in finished.stderr


def test_tflite_and_routing(pictures, served, converted_run, thresholds, alone, tmp_path):
    chosen = ("--thresholds", ",".join(map(str, thresholds)))
    run_program(CLASSIFY, *flags(pictures, converted_run, tmp_path / "tflite", *chosen))
    rows = rows_of(tmp_path / "tflite", "jsonl")
    assert [row["class"] for row in rows] == [answer["class"] for answer in alone.values()]
    run_program(CLASSIFY, *flags(pictures, served / "drnet", tmp_path / "drnet"))
    assert {row["resolution"] for row in rows_of(tmp_path / "drnet", "jsonl")} <= {24, 16, 12}


@pytest.mark.parametrize("rows_as", ["jsonl", "csv", "parquet"])
def test_on_beam(asked, pictures, alone, network, tmp_path, rows_as):
    more = ("--runner", "beam:DirectRunner", "--batch_size", "4", "--format", rows_as)
    here, on_beam = tmp_path / "here", tmp_path / "on_beam"
    given = asked(pictures, on_beam, *more)
    finished = run_program(CLASSIFY, *given)
    assert finished.status == 1
    assert "20 images classified, 3 could not be read." in finished.stdout, finished.stderr
    run_program(CLASSIFY, *asked(pictures, here))
    rows = sorted(rows_of(on_beam, rows_as), key=lambda row: row["path"])
    assert_as_alone(rows, alone)
    failed = sorted(failed_in(on_beam), key=lambda row: row["path"])
    assert failed == failed_in(here)
    assert (on_beam / "summary.json").read_text() == (here / "summary.json").read_text()
    assert "`output` must be a new folder" in refused(on_beam, CLASSIFY, *given)


def test_a_killed_job_continues(asked, pictures, served, alone, tmp_path):
    output = tmp_path / "out"
    given = asked(pictures, output, "--batch_size", "1", "--part_size", "2")
    kill_program_at(output / "part-00002.jsonl", CLASSIFY, *given)
    assert not (output / "summary.json").exists()
    before = {path: path.stat().st_mtime_ns for path in output.glob("part-0000[01].jsonl")}

    line = refused(output, CLASSIFY, *given)
    assert "`output` must be a new folder; --resume continues the job that is in it." in line
    other = flags(pictures, served / "drnet", output, "--part_size", "2", "--resume")
    assert "`model_dir` must be what it was when the job was stopped" in refused(
        output, CLASSIFY, *other
    )
    (tmp_path / "list.txt").write_text(f"{pictures}/00.png\n")
    finished = run_program(CLASSIFY, *given, "--resume")
    assert finished.status == 1
    assert_as_alone(rows_of(output, "jsonl"), alone)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_full_disk_leaves_whole_parts(asked, pictures, alone, tmp_path):
    output = tmp_path / "out"
    given = asked(pictures, output, "--part_size", "8")
    finished = run_program(CLASSIFY, *given, file_bytes=700)
    assert finished.status == 1
    (line,) = finished.stderr.splitlines()
    assert "Files must be readable and writable. Received: File too large" in line
    assert not list(output.glob("*unfinished*"))
    run_program(CLASSIFY, *given, "--resume")
    assert_as_alone(rows_of(output, "jsonl"), alone)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("missing/*.png", "`input` must be a folder, a file .txt with a path a line, or a pattern"),
        ("mixed/*", "and all of one kind. Received: "),
        ("empty.txt", "`input` must list pictures, each once. Received: "),
        ("twice.txt", "1 lines that were there before"),
        ("missing.txt", "`input` must be a file of UTF-8 with a path a line"),
    ],
)
def test_refuses_input(asked, tmp_path, given, message):
    (tmp_path / "mixed").mkdir()
    for name in ("a.png", "b.tar"):
        (tmp_path / "mixed" / name).touch()
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "twice.txt").write_text("a.png\na.png\n")
    line = refused(tmp_path, CLASSIFY, *asked(tmp_path / given, tmp_path / "out"))
    assert message in line


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--format", "xml"), "`format` must be one of jsonl, csv, parquet"),
        (("--part_size", "0"), "`part_size` must be a whole number from 1 on"),
        (("--threads", "0"), "`threads` must be a whole number from 1 on"),
        (("--runner", "beam"), "`runner` must be local or beam:NAME, as beam:DirectRunner"),
        (("--runner", "beam:NoRunner"), "`runner` must be a runner of Apache Beam"),
    ],
)
def test_refuses_flags(asked, pictures, tmp_path, more, message):
    given = asked(pictures, tmp_path / "out", *more)
    assert message in refused(tmp_path, CLASSIFY, *given)


def test_refuses_a_folder_of_something_else(asked, pictures, tmp_path):
    (tmp_path / "notes").write_text("mine")
    line = refused(tmp_path, CLASSIFY, *asked(pictures, tmp_path))
    assert "which holds something else." in line
