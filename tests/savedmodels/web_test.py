"""The program that writes the page, and what it refuses. LiteRT is made up: nothing is run here."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from savedmodels.site.write import LITERT_VERSION, write_site
from savedmodels.tflite.conversion import convert_run
from savedmodels.tflite.exit_runner import StagedRunner
from tests.trainers.programs import REPOSITORY, files, refused, run_program
from tf_adaptive.errors import InputError
from tf_adaptive.images import scale_and_offset

LITERT = (
    *("core/dist/index.js", "core/package.json", "wasm-utils/dist/index.js"),
    *("wasm-utils/package.json", "core/wasm/litert_wasm_internal.js"),
    *("core/wasm/litert_wasm_internal.wasm", "core/wasm/litert_wasm_compat_internal.js"),
    "core/wasm/litert_wasm_compat_internal.wasm",
)


@pytest.fixture
def litert(tmp_path):
    directory = tmp_path / "litert"
    for name in LITERT:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(json.dumps({"version": "2.5.9", "name": name}))
    return directory


@pytest.fixture
def pictures(tmp_path, network):
    directory = tmp_path / "pictures"
    directory.mkdir()
    for place, picture in enumerate(network.pictures[:3]):
        (directory / f"{place}_digit.PNG").write_bytes(tf.io.encode_png(picture).numpy())
    return directory


def test_the_folder_has_all_that_the_page_asks_for(litert, pictures, float32_stages, tmp_path):
    output = tmp_path / "site"
    given = ("--tflite_dir", float32_stages, "--litert_dir", litert, "--pictures", pictures)
    finished = run_program("savedmodels.web", *given, "--output", output)
    assert (finished.status, finished.stderr) == (0, "")
    held = {name for name, content in files(output).items() if content is not None}
    stages = {f"stages/stage_{k}.tflite" for k in (1, 2, 3, 4)}
    wasm = {f"litert/{name.removeprefix('core/')}" for name in LITERT if "/wasm/" in name}
    assert held == {
        *("index.html", "page.js", "network.js", "pictures.js", "style.css", "icon.svg"),
        *("network.json", "litert/core.js", "litert/wasm-utils.js", "litert/core.package.json"),
        *("litert/wasm-utils.package.json", *wasm, *stages),
        *(f"examples/00{k}.png" for k in (1, 2, 3)),
    }
    # No framework, and nothing from elsewhere.
    page = {name: (output / name).read_text() for name in held if "/" not in name}
    assert sum(map(len, page.values())) < 80_000
    assert not any(
        "http:" in text.replace("http://www.w3.org/2000/svg", "") for text in page.values()
    )
    assert not any("https:" in text for text in page.values())

    network = json.loads(page["network.json"])
    description = json.loads((float32_stages / "description.json").read_text())
    for number, stage in enumerate(network["stages"], start=1):
        assert (stage["exit"], stage["signature"]) == (number, f"stage_{number}")
        assert stage["bytes"] == (output / "stages" / stage["file"]).stat().st_size
        assert stage["sha256"] == description["files"][stage["file"]]["sha256"]
    own = network["points"][network["chosen"]]
    assert own["thresholds"] == description["thresholds"]
    assert network["exit_macs"] == description["exit_macs"]
    assert network["examples"][0] == {"file": "examples/001.png", "name": "0_digit"}
    scale, offset = scale_and_offset(description["mean"], description["std"])
    np.testing.assert_array_equal(np.float32(network["scale"]), scale)
    np.testing.assert_array_equal(np.float32(network["offset"]), offset)

    # Written again in its place, without examples.
    write_site(float32_stages, output, litert_dir=litert)
    assert not list((output / "examples").iterdir())


def test_one_version_of_litert_is_named():
    for file in ("Makefile", "savedmodels/web.py"):
        text = (REPOSITORY / file).read_text()
        assert set(re.findall(r"@litertjs/core@([0-9.]+)", text)) == {LITERT_VERSION}


def test_exits_that_are_off_are_not_there(litert, finished_run, tmp_path):
    converted = tmp_path / "converted"
    convert_run(finished_run, converted, test_images=20, thresholds=[None, 0.5, None])
    write_site(converted, tmp_path / "site", litert_dir=litert)
    network = json.loads((tmp_path / "site" / "network.json").read_text())
    macs = json.loads((converted / "description.json").read_text())["exit_macs"]
    assert [stage["exit"] for stage in network["stages"]] == [2, 4]
    assert network["points"][network["chosen"]]["thresholds"] == [0.5]
    assert network["exit_macs"] == [macs[1], macs[3]]
    assert len(network["scales"]) == len(StagedRunner(converted).enabled_exits) == 2


@pytest.fixture
def reason(litert, float32_stages, tmp_path):
    """A function that gives the words that what is given is refused with, nothing written."""

    def reason(tflite_dir=float32_stages, litert_dir=litert, **pictures):
        before = files(tmp_path)
        with pytest.raises(InputError) as caught:
            write_site(tflite_dir, tmp_path / "site", litert_dir=litert_dir, **pictures)
        assert files(tmp_path) == before
        return str(caught.value)

    return reason


def test_another_network_is_refused(reason, drnet_parts, float32_stages, tmp_path):
    assert "drnet_parts, a DRNet." in reason(drnet_parts)
    assert "convert_tflite wrote" in reason(tmp_path / "nothing")
    copy = shutil.copytree(float32_stages, tmp_path / "copy")
    description = json.loads((copy / "description.json").read_text())

    def describe(fields):
        (copy / "description.json").write_text(json.dumps(fields))

    describe({**description, "picture_reading": "as_stored"})
    assert "picture_reading='as_stored'" in reason(copy)
    describe({name: value for name, value in description.items() if name != "stages"})
    assert "which another program wrote." in reason(copy)
    describe(description)
    (copy / "stage_3.tflite").write_bytes(b"half")
    assert "stage_3.tflite of 4 bytes" in reason(copy)


def test_another_litert_is_refused(reason, litert, float32_stages, tmp_path):
    (litert / "core" / "package.json").write_text('{"version": "3.0.0"}')
    assert "of version '3.0.0'." in reason()
    (litert / "core" / "package.json").write_text("[]")
    assert "of version None." in reason()
    given = ("--tflite_dir", float32_stages, "--output", tmp_path / "site")
    none = ("--litert_dir", tmp_path / "node_modules")
    line = refused(tmp_path, "savedmodels.web", *given, *none)
    assert "npm install @litertjs/core@" in line and "no core/dist/index.js." in line


def test_other_pictures_and_another_output_are_refused(reason, pictures, tmp_path):
    assert "must be a folder. Received" in reason(pictures=tmp_path / "none")
    (pictures / "notes.png").write_text("no picture")
    assert "It is: " in (line := reason(pictures=pictures)) and line.endswith("notes.png.")
    for place in range(98):
        shutil.copy(pictures / "0_digit.PNG", pictures / f"more_{place}.png")
    assert "at most 100. Received" in reason(pictures=pictures)
    output = tmp_path / "site"
    output.mkdir()
    (output / "thesis.txt").write_text("mine")
    assert "which holds 'thesis.txt'." in reason()
