import json
import os
import shutil
import subprocess
import sys

import keras
import pytest

from savedmodels.description import DESCRIPTION_FILE
from savedmodels.serving.model_folder import EXTRA_ASSETS
from savedmodels.serving.saved_model import export_run
from tests.savedmodels.conftest import LOWER_DTYPE
from tests.trainers.programs import files, refused, rows, run_program
from tf_adaptive.errors import InputError
from tf_adaptive.exits.operating_point import choose_operating_point
from tf_adaptive.runs.directory import read_config
from tf_adaptive.runs.tables import read_exit_report

CLASSES = [str(digit) for digit in range(10)]


def table(run_dir, name):
    return rows(run_dir / "report" / f"{name}.csv")


def copied(run_dir, tmp_path):
    """The run without its checkpoints, to change."""
    return shutil.copytree(
        run_dir, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "tensorboard")
    )


def refused_by(directory, run_dir, output, *flags):
    return refused(
        directory, "savedmodels.export", "--run_dir", run_dir, "--output", output, *flags
    )


def description_of(version):
    return json.loads((version / EXTRA_ASSETS / DESCRIPTION_FILE).read_text())


def test_the_whole_folder(served):
    assert sorted(path for path in files(served) if path.count("/") <= 2) == sorted(
        [
            *("batching_parameters.txt", "models.config", "drnet", "drnet/1", "exits"),
            *(
                f"{version}{file}"
                for version in ("drnet/1", "exits/1", "exits/2")
                for file in (
                    *("/assets", "/assets.extra", "/fingerprint.pb", "/model_card.md"),
                    *("/saved_model.pb", "/variables"),
                )
            ),
            *("exits/1", "exits/2"),
        ]
    )
    assert (served / "exits/1" / EXTRA_ASSETS / "labels.txt").read_text().splitlines() == CLASSES


def test_the_description(served, finished_run):
    config = read_config(finished_run)
    data = ("class_names", "image_shape", "mean", "std", "center_crop")
    for version, dtype in ((1, "float32"), (2, LOWER_DTYPE)):
        description = description_of(served / f"exits/{version}")
        assert {name: description[name] for name in data} == {name: config[name] for name in data}
        assert description["name"] == "exits"
        assert description["version"] == version
        assert description["dtype"] == dtype
        assert description["measure"] == "max_probability"
    assert description["thresholds"] == [0.2, 0.3, 0.4]
    drnet = description_of(served / "drnet/1")
    assert drnet["resolutions"] == [24, 16, 12]
    assert "thresholds" not in drnet


def test_the_thresholds_are_the_report_s(served, finished_run):
    last = float(table(finished_run, "anytime")[-1]["calibration_accuracy_percent"])
    rows = [
        row
        for row in table(finished_run, "budgeted")
        if float(row["calibration_accuracy_percent"]) >= last - 0.5
    ]
    row = min(rows, key=lambda row: int(row["calibration_mean_macs"]))
    description = description_of(served / "exits/1")
    texts = [row[f"threshold_exit_{k}"] for k in (1, 2, 3)]
    expected = [None if text == "off" else float(text) for text in texts]
    assert description["thresholds"] == expected
    assert description["enabled_exits"] == [1, 2, 3, 4]


def test_the_card_of_a_network_with_exits(served, finished_run):
    card = (served / "exits/1/model_card.md").read_text()
    for row in table(finished_run, "anytime"):
        assert f"| {row['exit']} | {int(row['macs']) / 1e6:.2f} |" in card
        assert f"{float(row['accuracy_percent']):.2f} %" in card
    point = choose_operating_point(read_exit_report(finished_run, 4))
    assert point.chosen.endswith(", on the calibration images")
    assert f"The thresholds are {point.chosen}. On the test images that gave" in card
    assert f"{point.accuracy_percent:.2f} % at {point.mean_macs / 1e6:.2f} million MACs" in card
    assert "| `learning_rate` | `0.05` |" in card
    assert "Images: 128 for train, " in card
    assert "| `stage_2` | " in card
    by_hand = (served / "exits/2/model_card.md").read_text()
    assert "The thresholds are given by hand. Neither accuracy nor cost was measured" in by_hand


def test_the_card_of_a_network_in_bfloat16(served):
    card = (served / "exits/2/model_card.md").read_text()
    assert "Weights are bfloat16; accuracies are those of the float32 network." in card


def test_the_card_of_a_drnet(served, finished_drnet):
    card = (served / "drnet/1/model_card.md").read_text()
    for row in table(finished_drnet, "resolutions"):
        assert f"| {row['resolution']} | {int(row['macs']) / 1e6:.2f} |" in card
    chosen = table(finished_drnet, "comparison")[0]
    assert f"chosen for it: {float(chosen['accuracy_percent']):.2f} % on the test images" in card
    assert "| `classify_16` | `images` uint8 (any, any, any, 1) | `logits` float32" in card


def test_saved_model_cli_shows_every_signature(served):
    shown = run_program(
        "tensorflow.python.tools.saved_model_cli", "show", "--dir", served / "exits/1", "--all"
    )
    assert shown.status == 0
    for signature in ("serving_default", "serving_bytes_thresholds", "all_exits", "stage_4"):
        assert f"signature_def['{signature}']:" in shown.stdout
    assert "inputs['images'] tensor_info:\n        dtype: DT_UINT8" in shown.stdout
    assert "outputs['label'] tensor_info:\n        dtype: DT_STRING" in shown.stdout


def test_what_a_run_s_settings_lack_is_read_from_its_data(finished_run, tmp_path):
    run_dir = copied(finished_run, tmp_path)
    config = read_config(run_dir)
    described = {
        name: config.pop(name) for name in ("class_names", "image_shape", "mean", "std", "sizes")
    }
    (run_dir / "config.json").write_text(json.dumps(config))
    name, version = export_run(run_dir, tmp_path / "models", thresholds=[0.5, 0.5, 0.5])
    assert (name, version) == ("run", 1)
    description = description_of(tmp_path / "models/run/1")
    for setting in ("class_names", "image_shape", "mean", "std"):
        assert description[setting] == described[setting]


def unfinished(run_dir):
    os.remove(run_dir / "model.keras")


def without_report(run_dir):
    shutil.rmtree(run_dir / "report")


def damaged(run_dir):
    content = (run_dir / "model.keras").read_bytes()
    (run_dir / "model.keras").write_bytes(content[: len(content) // 2])


def one_exit(run_dir):
    images = keras.Input((24, 24, 1))
    logits = keras.layers.Dense(10)(keras.layers.Flatten()(images))
    keras.Model(images, logits).save(run_dir / "model.keras")


def fewer_classes(run_dir):
    config = read_config(run_dir)
    config["class_names"] = config["class_names"][:9]
    (run_dir / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (unfinished, "`run_dir` must hold a finished run."),
        (
            without_report,
            "The run must have a report of this version: run trainers.evaluate. Missing: ",
        ),
        (damaged, "The model file must be whole."),
        (one_exit, "The report of the run must have a row for each exit of its network, 1:"),
        (fewer_classes, "`class_names` must hold a name for each of the 10 classes"),
    ],
)
def test_a_run_that_cannot_be_exported(finished_run, tmp_path, spoil, message):
    run_dir = copied(finished_run, tmp_path)
    spoil(run_dir)
    assert message in refused_by(tmp_path, run_dir, tmp_path / "models")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--thresholds", "0.5,0.5"], "`thresholds` must hold 3 numbers"),
        (["--thresholds", "off,0.5"], "`thresholds` must hold 3 numbers"),
        (["--risk", "0.0001"], "`risk` must be one that the images suffice for"),
        (["--confidence", "0.9"], "`confidence` must come with `risk`"),
        (["--method", "sweeps"], "`method` must be one of sweep, optimal"),
        (["--thresholds", "0.5,0.5,1.5"], "`thresholds` must be numbers in [0, 1]"),
        (["--thresholds", "0.5,half,1"], "`thresholds` must be numbers with commas between"),
        (["--budget_mmacs", "0.1"], "`budget_mmacs` must be at least that of the report's"),
        (["--accuracy_drop", "1", "--budget_mmacs", "5"], "At most one of `budget_mmacs`"),
        (["--dtype", "float16"], "`dtype` must be one of float32, bfloat16. Received"),
        (["--name", "a/b"], "`name` must be letters, digits"),
        (["--version", "0"], "`version` must be a whole number from 1 on"),
    ],
)
def test_flags_that_cannot_be_meant(finished_run, tmp_path, flags, message):
    assert message in refused_by(tmp_path, finished_run, tmp_path / "models", *flags)


def test_a_drnet_has_no_thresholds(finished_drnet, tmp_path):
    with pytest.raises(InputError, match="`accuracy_drop` must not be given for a DRNet"):
        export_run(finished_drnet, tmp_path / "models", accuracy_drop=1.0)
    assert files(tmp_path) == {}


def test_a_folder_that_is_not_ours(finished_run, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    line = refused_by(tmp_path, finished_run, tmp_path)
    assert "`output` must be a new folder, or one that models" in line


def test_the_command_itself(tmp_path):
    command = [sys.executable, "-m", "savedmodels.export", "--run_dir", tmp_path, "--output", "x"]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: `run_dir` must be the directory of a run. Received: ")
    assert failed.stderr.count("\n") == 1
