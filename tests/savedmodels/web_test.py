"""The program that writes the page, and what it refuses. LiteRT is made up: nothing is run here."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from savedmodels.site.write import write_site
from savedmodels.tflite.exit_runner import StagedRunner
from tests.trainers.programs import files, refused, run_program
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


def test_exits_that_are_off_are_not_there(litert, finished_run, tmp_path):
    converted = tmp_path / "converted"
    finished = run_program(
        "savedmodels.convert_tflite",
        *("--run_dir", finished_run, "--output", converted, "--test_images", "20"),
        *("--thresholds", "off,0.5,off"),
    )
    assert finished.status == 0, finished.stderr
    write_site(converted, tmp_path / "site", litert_dir=litert)
    network = json.loads((tmp_path / "site" / "network.json").read_text())
    macs = json.loads((converted / "description.json").read_text())["exit_macs"]
    assert [stage["exit"] for stage in network["stages"]] == [2, 4]
    assert network["points"][network["chosen"]]["thresholds"] == [0.5]
    assert network["exit_macs"] == [macs[1], macs[3]]
    assert len(network["scales"]) == len(StagedRunner(converted).enabled_exits) == 2


def test_what_cannot_be_shown_is_refused(
    litert, pictures, float32_stages, drnet_parts, served, tmp_path
):
    output = tmp_path / "site"

    def reason(tflite_dir=float32_stages, litert_dir=litert, **others):
        given = {"tflite_dir": tflite_dir, "litert_dir": litert_dir, "output": output, **others}
        flags = [text for name, value in given.items() for text in (f"--{name}", value)]
        return refused(tmp_path, "savedmodels.web", *flags)

    assert "drnet_parts, a DRNet" in reason(drnet_parts)
    assert "convert_tflite wrote" in reason(tmp_path / "nothing")
    exported = next(served.glob("exits/1/assets.extra"))
    assert "which another program wrote" in reason(exported)

    missing = reason(litert_dir=tmp_path / "node_modules")
    assert "npm install @litertjs/core@" in missing and "no core/dist/index.js" in missing
    (litert / "core" / "package.json").write_text('{"version": "3.0.0"}')
    assert "of version '3.0.0'" in reason()
    (litert / "core" / "package.json").write_text('{"version": "2.5.3"}')

    stored = tmp_path / "stored"
    shutil.copytree(float32_stages, stored)
    description = json.loads((stored / "description.json").read_text())
    (stored / "description.json").write_text(
        json.dumps({**description, "picture_reading": "as_stored"})
    )
    assert "picture_reading='as_stored'" in reason(stored)
    (stored / "description.json").write_text(json.dumps(description))
    (stored / "stage_3.tflite").write_bytes(b"half")
    assert "stage_3.tflite of 4 bytes" in reason(stored)

    assert "must be a folder. Received" in reason(pictures=tmp_path / "none")
    (pictures / "notes.png").write_text("no picture")
    assert "notes.png" in reason(pictures=pictures)
    (pictures / "notes.png").unlink()
    for place in range(98):
        shutil.copy(pictures / "0_digit.PNG", pictures / f"more_{place}.png")
    assert "at most 100. Received" in reason(pictures=pictures)

    output.mkdir()
    (output / "thesis.txt").write_text("mine")
    assert "which holds 'thesis.txt'" in reason()
