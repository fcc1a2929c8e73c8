"""The program itself; what it writes is tested in tflite/conversion_test.py."""

import json
import re
import shutil

import pytest

from savedmodels.tflite.conversion import convert_run
from tests.savedmodels.conftest import FLOAT16, TEST_IMAGES
from tests.trainers.programs import files, run_program
from tf_adaptive import InputError
from tf_adaptive.runs.directory import read_config


def convert(run_dir, output, *arguments):
    return run_program(
        "savedmodels.convert_tflite", "--run_dir", run_dir, "--output", output, *arguments
    )


def test_prints_the_table(drnet_conversion):
    stdout, folder = drnet_conversion
    kilobytes = (folder / "network.tflite").stat().st_size / 1000
    empty, heading, *rows, end, counted = stdout.splitlines()
    assert (empty, end) == ("", "")
    assert heading.split()[:3] == ["resolution", "file", "kB"]
    assert [row.split()[0] for row in rows] == ["24", "16", "12", "chosen"]
    for row in rows:
        assert row.split()[1:3] == ["network.tflite", f"{kilobytes:.1f}"]
        assert float(row.split()[7]) >= FLOAT16["least_agreement"]
    assert counted == f"On {TEST_IMAGES} test images. Files: {folder}"


def test_out_of_tolerance_leaves_nothing(finished_drnet, tmp_path):
    output = tmp_path / "new" / "out"
    # Ranges measured on a single image do not fit the others.
    int8 = ("--precision", "int8", "--calibration_images", "1", "--least_agreement", "100")
    finished = convert(finished_drnet, output, *int8, "--single_file", "--test_images", "200")
    assert finished.status == 2
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert re.fullmatch(
        "error: A conversion must agree with the Keras model on 100 % of the test images at every "
        "resolution: take a higher `precision`, or allow it with `least_agreement`. Received: "
        r"int8, [0-9.]+ % at resolution (24|16|12|chosen), probabilities up to [0-9.]+ apart\.",
        line,
    )
    assert files(tmp_path) == {"new": None}


def refused(directory, run_dir, output, **arguments):
    """The line that a conversion is refused with, after checking that nothing changed."""
    before = files(directory)
    with pytest.raises(InputError) as error:
        convert_run(run_dir, output, **arguments)
    assert files(directory) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def copied(run_dir, tmp_path):
    return shutil.copytree(
        run_dir, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "tensorboard")
    )


def test_refuses_an_unfinished_run(finished_run, tmp_path):
    run_dir = copied(finished_run, tmp_path)
    (run_dir / "model.keras").unlink()
    line = refused(tmp_path, run_dir, tmp_path / "out")
    assert "`run_dir` must hold a finished run." in line


def test_refuses_a_run_without_a_report(finished_run, tmp_path):
    run_dir = copied(finished_run, tmp_path)
    (run_dir / "report" / "budgeted.csv").unlink()
    line = refused(tmp_path, run_dir, tmp_path / "out")
    assert "The run must have a report of this version: run trainers.evaluate. Missing: " in line


def test_refuses_a_run_with_a_class_without_a_name(finished_drnet, tmp_path):
    run_dir = copied(finished_drnet, tmp_path)
    config = read_config(run_dir)
    config["class_names"] = config["class_names"][:9]
    (run_dir / "config.json").write_text(json.dumps(config))
    line = refused(tmp_path, run_dir, tmp_path / "out")
    assert "`class_names` must hold a name for each of the 10 classes" in line


def test_refuses_an_output_folder_that_is_not_ours(finished_run, tmp_path):
    output = tmp_path / "photos"
    output.mkdir()
    (output / "cat.jpg").write_bytes(b"a cat")
    line = refused(tmp_path, finished_run, output)
    assert "`output` must be new, empty, or a folder that savedmodels.convert_tflite wrote" in line
    assert "which holds 'cat.jpg'" in line


def test_refuses_an_output_that_is_a_file(finished_run, tmp_path):
    output = tmp_path / "file"
    output.write_text("text")
    line = refused(tmp_path, finished_run, output)
    assert f"`output` must be a folder. Received: the file {output}" in line


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("precision", "float8", "Did you mean 'float"),
        ("test_images", 0, "`test_images` must be a whole number from 1 to"),
        ("test_images", 100000, "`test_images` must be a whole number from 1 to"),
        ("calibration_images", 0, "`calibration_images` must be a whole number from 1 on"),
        ("thresholds", [0.5], "`thresholds` must hold 3 numbers"),
        ("least_agreement", float("nan"), "`least_agreement` must be from 0 to 100"),
    ],
)
def test_refuses_an_argument_s_value(finished_run, tmp_path, argument, value, message):
    assert message in refused(tmp_path, finished_run, tmp_path / "out", **{argument: value})


def test_a_flag_that_cannot_be_meant_is_one_line(finished_run, tmp_path):
    finished = convert(finished_run, tmp_path / "out", "--precision", "float61")
    assert finished.status == 2
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: `precision` must be one of float32, float16, int8. Received: ")


def test_a_drnet_has_no_thresholds(finished_drnet, tmp_path):
    line = refused(tmp_path, finished_drnet, tmp_path / "out", accuracy_drop=1.0)
    assert line.startswith("`accuracy_drop` must not be given for a DRNet")
