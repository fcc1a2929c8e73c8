"""The page in Chromium, with LiteRT as npm installs it."""

import functools
import http.server
import json
import pathlib
import shutil
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf

from savedmodels.site.write import LITERT_VERSION, write_site
from savedmodels.tflite.exit_runner import StagedRunner
from tests.browser import Browser, needs_chromium
from tests.trainers.programs import REPOSITORY
from tf_adaptive.data.preprocessing import Preprocessing
from tf_adaptive.exits.thresholds import MEASURES, confidence_scores

_PLACES = [pathlib.Path(place, "node_modules", "@litertjs") for place in (REPOSITORY, sys.prefix)]
_LITERT = next((place for place in _PLACES if place.is_dir()), None)
pytestmark = [
    needs_chromium,
    pytest.mark.skipif(
        _LITERT is None,
        reason=f"@litertjs is not there: npm install @litertjs/core@{LITERT_VERSION}",
    ),
]

_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
_STILL = {"name": "prefers-reduced-motion", "value": "reduce"}


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder.

    Attributes:
        directory: the folder.
        asked: paths, in order.
        cut: names of files of which only the first half arrives.
    """

    def __init__(self, directory):
        self.directory, self.asked, self.cut = directory, [], set()
        super().__init__(("127.0.0.1", 0), functools.partial(_Handler, directory=directory))
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/"

    def stages(self):
        return [path.removeprefix("/stages/") for path in self.asked if path.startswith("/stages/")]


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        self.server.asked.append(self.path)

    def end_headers(self):
        # What was asked for by a test before is asked for again.
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def copyfile(self, source, outputfile):
        if pathlib.Path(self.path).name not in self.server.cut:
            return super().copyfile(source, outputfile)
        content = source.read()
        outputfile.write(content[: len(content) // 2])
        self.close_connection = True


@pytest.fixture(scope="module")
def folder(float32_stages, network, tmp_path_factory):
    """A converted network whose thresholds are such that some test images leave at each exit."""
    folder = tmp_path_factory.mktemp("network") / "tflite"
    shutil.copytree(float32_stages, folder)
    description = json.loads((folder / "description.json").read_text())
    never = StagedRunner(folder, thresholds=[None] * 3)
    logits = np.stack([never.all_exits(picture) for picture in network.pictures], axis=1)
    scales = 1 / np.float32(description["temperatures"])
    confidences = confidence_scores(logits * scales[:, None, None], description["measure"]).numpy()
    there, thresholds = np.full(logits.shape[1], True), []
    for confidence in confidences[:-1]:
        thresholds.append(float(np.median(confidence[there])))
        there &= confidence < thresholds[-1]
    (folder / "description.json").write_text(json.dumps({**description, "thresholds": thresholds}))
    return folder


@pytest.fixture(scope="module")
def pictures(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for place, picture in enumerate(network.pictures):
        (folder / f"{place:02}.png").write_bytes(tf.io.encode_png(picture).numpy())
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def expected(folder, network):
    """What the runner says of each picture, by its file's name."""
    runner = StagedRunner(folder)
    return {f"{place:02}.png": runner(each) for place, each in enumerate(network.pictures)}


@pytest.fixture(scope="module")
def server(folder, pictures, tmp_path_factory):
    directory = tmp_path_factory.mktemp("site")
    examples = directory / "examples"
    examples.mkdir()
    for path in pictures[:3]:
        shutil.copy(path, examples)
    write_site(folder, directory / "site", litert_dir=_LITERT, pictures=examples)
    with Server(directory / "site") as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile"), _CAMERA) as browser:
        browser.send("Emulation.setEmulatedMedia", features=[_STILL])
        yield browser


@pytest.fixture
def page(browser, server):
    """The page, opened anew; nothing went wrong on it that it did not show."""
    server.asked.clear()
    server.cut.clear()
    browser.errors.clear()
    browser.open(server.address)
    browser.wait_for("!document.getElementById('inputs').disabled")
    yield browser
    assert browser.errors == []


def text(page, name):
    return page.run(f"document.getElementById('{name}').innerText.trim()")


def give(page, paths):
    """Chooses files, and gives the table's rows once they are all there."""
    before = page.run("document.getElementById('rows').children.length")
    page.give_files("#files", paths)
    page.wait_for(f"document.getElementById('rows').children.length == {before + len(paths)}")
    return rows(page)


def rows(page):
    """By name: answer, confidence, exit, share of MACs, milliseconds."""
    cells = "[...row.cells].map(cell => cell.textContent)"
    found = page.run(f"[...document.getElementById('rows').children].map(row => {cells})")
    return {name: others for name, *others in found}


def move(page, key, code):
    page.run("document.getElementById('point').focus()")
    page.press(key, code)


def leaves_at(expected, exit):
    return next(name for name, answer in expected.items() if answer.exit == exit)


def words_of_exits(page):
    return page.run(
        "[...document.querySelectorAll('#exits li')].map(line => "
        "[line.className, line.querySelector('.words').textContent])"
    )


def test_pictures_get_the_runner_s_answers_and_leave_where_they_do(page, pictures, expected):
    assert {answer.exit for answer in expected.values()} == {1, 2, 3, 4}
    answers = give(page, pictures)
    assert answers.keys() == expected.keys()
    for name, (label, confidence, exit, _, _) in answers.items():
        assert (label, int(exit)) == (expected[name].class_name, expected[name].exit)
        assert abs(float(confidence) - expected[name].confidence) < 1e-3
    for exit in (1, 2, 3, 4):
        count = sum(answer.exit == exit for answer in expected.values())
        assert f"{count} at exit {exit}" in text(page, "summary")


def test_stages_are_fetched_when_a_picture_needs_them(page, server, pictures, expected, folder):
    by_name = {path.name: path for path in pictures}
    description = json.loads((folder / "description.json").read_text())
    macs = description["exit_macs"]
    for exit in (1, 2, 4):
        name = leaves_at(expected, exit)
        answers = give(page, [by_name[name]])
        assert server.stages() == [f"stage_{k}.tflite" for k in range(1, exit + 1)]
        share = f"{100 * macs[exit - 1] / macs[-1]:.0f} %"
        assert answers[name][3] == share
        status = text(page, "status")
        assert status.startswith(f"{name}: {expected[name].class_name}, confidence")
        assert f"It left at exit {exit} of 4" in status
        assert status.endswith(f"and {share} of the whole network's MACs.")
        words = words_of_exits(page)
        kinds = ["passed"] * (exit - 1) + ["left"] + ["unused"] * (4 - exit)
        assert [kind for kind, _ in words] == kinds
        assert all("is below" in said for _, said in words[: exit - 1])
        if exit < 4:
            assert "leaves here" in words[exit - 1][1]
            assert text(page, "whole_ms") == "not all stages have run"
    assert float(text(page, "whole_ms")) > 0


def test_the_slider_moves_the_exits(page, server, pictures, expected):
    names = [leaves_at(expected, 1), leaves_at(expected, 2)]
    give(page, [path for path in pictures if path.name in names])
    network = json.loads(page.run("fetch('network.json').then(answer => answer.text())"))
    slider = "document.getElementById('point')"

    def exits():
        return {name: cells[2] for name, cells in rows(page).items()}

    for key, code, place, exit in (("Home", 36, 0, "4"), ("End", 35, -1, "1")):
        move(page, key, code)
        page.wait_for(
            "[...document.getElementById('rows').children]"
            f".every(row => row.cells[3].textContent == '{exit}')"
        )
        assert exits() == dict.fromkeys(names, exit)
        assert text(page, "point_words") == network["points"][place]["words"]
        assert page.run(f"{slider}.getAttribute('aria-valuetext')") == text(page, "point_words")
    page.run(f"{slider}.value = {network['chosen']}; {slider}.dispatchEvent(new Event('input'))")
    page.wait_for("document.getElementById('summary').textContent.includes('1 at exit 1, 1 at')")
    assert exits() == {name: str(expected[name].exit) for name in names}


def test_the_whole_network_is_asked_on_request(page, server, pictures, expected, folder):
    name = leaves_at(expected, 1)
    give(page, [path for path in pictures if path.name == name])
    assert len(server.stages()) == 1
    page.run("document.getElementById('whole').click()")
    page.wait_for("document.getElementById('whole_answer').textContent")
    assert len(server.stages()) == 4
    picture = tf.io.decode_png(pictures[int(name[:2])].read_bytes()).numpy()
    last = StagedRunner(folder, thresholds=[None] * 3)(picture)
    assert f": {last.class_name}, confidence {last.confidence:.3f}" in text(page, "whole_answer")
    # It stays what early exit said.
    assert rows(page)[name][2] == "1"


def test_an_example_is_classified(page, expected):
    page.run("document.querySelector('#examples button').click()")
    page.wait_for("document.getElementById('rows').children.length")
    (answer,) = rows(page).values()
    assert answer[0] == expected["00.png"].class_name
    assert page.run("document.querySelector('#examples img').alt") == "00"


def test_what_is_no_picture_is_named_and_the_others_are_answered(page, pictures, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(pictures[1].read_bytes()[:50])
    page.give_files("#files", [tmp_path / "notes.png", pictures[0], tmp_path / "cut.png"])
    page.wait_for("document.getElementById('problems').children.length == 2")
    page.wait_for("document.getElementById('rows').children.length")
    assert list(rows(page)) == ["00.png"]
    assert text(page, "problems").splitlines() == [
        f"{name}: this is no picture that the browser can read."
        for name in ("notes.png", "cut.png")
    ]
    assert page.run("getComputedStyle(document.getElementById('lost')).display") == "none"


def test_a_network_lost_while_a_stage_is_fetched(page, server, pictures, expected):
    name = leaves_at(expected, 4)
    server.cut.add("stage_3.tflite")
    page.give_files("#files", [path for path in pictures if path.name == name])
    page.wait_for("document.getElementById('rows').children.length")
    assert "stage 3 could not be fetched" in text(page, "lost")
    status = text(page, "status")
    assert "So far exit 2 says" in status and status.endswith("which is not sure enough.")
    assert rows(page)[name][2] == "lost"
    words = words_of_exits(page)
    assert [kind for kind, _ in words] == ["passed", "passed", "lost", "unused"]
    assert words[2][1] == "could not be fetched"
    # The browser notes what did not arrive.
    assert {error["url"] for error in page.errors} == {f"{server.address}stages/stage_3.tflite"}
    page.errors.clear()
    # Again in vain, and then not.
    page.run("document.getElementById('again').click()")
    page.wait_for("document.getElementById('lost_words').textContent.includes('stage 3')")
    page.errors.clear()
    server.cut.clear()
    page.run("document.getElementById('again').click()")
    page.wait_for(
        "document.getElementById('problem').hidden && "
        "document.getElementById('rows').rows[0].cells[3].textContent == '4'"
    )
    label, _, exit, _, _ = rows(page)[name]
    assert (label, exit) == (expected[name].class_name, "4")
    assert server.stages().count("stage_2.tflite") == 1


def test_a_stage_of_another_network_is_not_run(page, server, pictures, expected, tmp_path):
    stage = server.directory / "stages" / "stage_2.tflite"
    content = stage.read_bytes()
    stage.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        name = leaves_at(expected, 2)
        page.give_files("#files", [path for path in pictures if path.name == name])
        page.wait_for("document.getElementById('lost_words').textContent")
        assert "another file than was written" in text(page, "lost")
    finally:
        stage.write_bytes(content)


def test_without_webgpu_the_processor_goes_on(page, pictures):
    before = give(page, pictures[:2])
    page.run(
        "document.getElementById('accelerator').value = 'webgpu';"
        "document.getElementById('accelerator').dispatchEvent(new Event('change'))"
    )
    page.wait_for("document.getElementById('checked').textContent")
    assert text(page, "checked") == ("This browser gives no WebGPU device. The processor goes on.")
    assert page.run("document.getElementById('accelerator').value") == "wasm"
    assert rows(page) == before


def test_another_accelerator_must_answer_as_the_processor(page):
    def check(values):
        return page.run(
            "import('./network.js').then(({checkSame}) => { try { checkSame("
            f"{{logits: {values}}}, {{logits: Float32Array.of(1, -20, 3)}}, 2); return null; }} "
            "catch (error) { return error.message; } })"
        )

    assert check("Float32Array.of(1.001, -20, 3)") is None
    refusal = check("Float32Array.of(1, -20.1, 3)")
    assert refusal.startswith("WebGPU answers otherwise than the processor at stage 2: logits")
    assert check("Float32Array.of(1, NaN, 3)") is not None


def test_the_camera_is_classified_until_it_is_stopped(page, network):
    page.run("document.getElementById('camera').click()")
    page.wait_for("document.getElementById('status').textContent.startsWith('Camera: ')")
    label = text(page, "status").removeprefix("Camera: ").partition(",")[0]
    assert label in network.dataset.class_names
    assert text(page, "camera") == "Stop the camera"
    live = "document.getElementById('status').getAttribute('aria-live')"
    assert page.run(live) == "off"
    page.run("document.getElementById('camera').click()")
    assert text(page, "camera") == "Camera"
    assert page.run(live) == "polite"
    assert page.run("document.getElementById('video').srcObject") is None


def test_all_that_is_used_has_a_name_and_is_reached_by_the_keyboard(page, pictures):
    give(page, pictures[:1])
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "slider", "combobox", "image", "table", "status", "alert"}
    found = [
        (node["role"]["value"], node.get("name", {}).get("value"))
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in roles
    ]
    named = {"button", "slider", "combobox", "image"}
    assert [each for each in found if each[0] in named and not each[1]] == []
    assert ("slider", "When is an exit sure enough?") in found
    page.run("document.activeElement.blur(); document.body.focus()")
    reached = []
    for _ in range(40):
        page.press("Tab", 9)
        reached.append(page.run("document.activeElement.id || document.activeElement.innerText"))
    assert {"files", "camera", "whole", "point", "accelerator", "00.png"} <= set(reached)


@pytest.mark.parametrize("width", [340, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_window(page, pictures, width, scheme, tmp_path):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    page.send("Emulation.setDeviceMetricsOverride", **size)
    colours = {"name": "prefers-color-scheme", "value": scheme}
    page.send("Emulation.setEmulatedMedia", features=[_STILL, colours])
    try:
        give(page, pictures[:4])
        assert page.run("document.documentElement.scrollWidth") <= width
        (tmp_path / f"{scheme}_{width}.png").write_bytes(page.picture())
    finally:
        page.send("Emulation.clearDeviceMetricsOverride")
        page.send("Emulation.setEmulatedMedia", features=[_STILL])


def _encoded(shape, seed):
    picture = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return tf.io.encode_png(picture).numpy()


def test_pixels_are_those_of_the_programs(page, server):
    """Of every transparency and colour, of larger and smaller pictures, whole and their centre."""
    values = np.arange(256, dtype=np.uint8)
    colours, alphas = np.meshgrid(values, values)
    seen_through = np.stack([colours, 255 - colours, colours // 2, alphas], axis=-1)
    files = {"alpha.png": tf.io.encode_png(seen_through).numpy()}
    for channels in (1, 2, 3, 4):
        for height, width in ((24, 24), (7, 5), (90, 133)):
            name = f"{channels}_{height}_{width}.png"
            files[name] = _encoded((height, width, channels), seed=height)
    examples = server.directory / "examples"
    for name, content in files.items():
        (examples / name).write_bytes(content)
    try:
        for shape, crop in (((24, 24, 1), False), ((20, 28, 3), False), ((32, 32, 3), True)):
            preprocessing = Preprocessing(
                image_shape=shape, mean=[0] * shape[2], std=[1] * shape[2], center_crop=crop
            )
            decoded = tf.function(preprocessing.decoded)
            for name, content in files.items():
                received = page.run(
                    "(async () => { const {decode, fitted} = await import('./pictures.js');"
                    f"const file = await (await fetch('examples/{name}')).blob();"
                    f"const picture = fitted(await decode(file, {shape[2]}), {list(shape[:2])},"
                    f" {json.dumps(crop)}); return [...picture.data]; }})()"
                )
                (theirs,) = decoded(tf.constant([content])).numpy()
                np.testing.assert_array_equal(received, theirs.ravel(), err_msg=f"{name} {shape}")
    finally:
        for name in files:
            (examples / name).unlink()


@pytest.mark.parametrize("measure", MEASURES)
def test_confidences_are_those_of_the_library(page, measure):
    logits = np.random.default_rng(0).normal(scale=4, size=(50, 7)).astype("float32")
    logits[0] = [100, 0, 0, 0, 0, 0, 0]
    received = page.run(
        "import('./network.js').then(({softmax, confidenceOf}) => "
        f"{logits.tolist()}.map(each => confidenceOf(softmax(each, 0.8), '{measure}')))"
    )
    theirs = confidence_scores(logits * np.float32(0.8), measure).numpy()
    np.testing.assert_allclose(received, theirs, atol=1e-6)
