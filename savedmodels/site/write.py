"""Writes the folder of the page: its own files, the stages, LiteRT and examples."""

import base64
import hashlib
import importlib.resources
import json
import pathlib
import shutil

from tf_adaptive.errors import InputError
from tf_adaptive.exits.operating_point import OperatingPoint
from tf_adaptive.exits.thresholds import NEVER
from tf_adaptive.images import scale_and_offset
from tf_adaptive.pictures import AS_SEEN

from ..classifiers import load_classifier
from ..description import DESCRIPTION_FILE, described_files, read_description
from ..output_folder import check_replaceable, folder_replaced_whole
from ..picture_files import find_pictures, read_picture
from .points import operating_points

LITERT_VERSION = "2.5.3"
# What was tried; the next may name things otherwise.
_LITERT_VERSIONS = "2.5."
# The second wasm is for browsers without relaxed SIMD.
_WASM = [
    f"wasm/litert_wasm{kind}_internal.{ending}"
    for kind in ("", "_compat")
    for ending in ("js", "wasm")
]
# What each of npm's files is called in the page's folder.
_LITERT_FILES = {
    "core/dist/index.js": "core.js",
    "core/package.json": "core.package.json",
    "wasm-utils/dist/index.js": "wasm-utils.js",
    "wasm-utils/package.json": "wasm-utils.package.json",
    **{f"core/{name}": name for name in _WASM},
}
_INSTALL = f"npm install @litertjs/core@{LITERT_VERSION}"
_IMPORT_MAP = json.dumps({"imports": {"@litertjs/wasm-utils": "./litert/wasm-utils.js"}})
_INDEX = "index.html"
_PAGE_FILES = (_INDEX, "icon.svg", "network.js", "page.js", "pictures.js", "style.css")
_NETWORK_FILE = "network.json"
_STAGES, _EXAMPLES, _LITERT = "stages", "examples", "litert"
_OURS = (*_PAGE_FILES, _NETWORK_FILE, _STAGES, _EXAMPLES, _LITERT)
_MOST_EXAMPLES = 100


def write_site(tflite_dir, output, *, litert_dir, pictures=None):
    """Writes the page of a network with exits, whole or not at all.

    Args:
        tflite_dir: folder that `savedmodels.convert_tflite` wrote.
        output: the folder: new, empty, or one that this function wrote, which is replaced.
        litert_dir: npm's folder `@litertjs`, which holds `core` and `wasm-utils`.
        pictures: a folder of pictures to bundle as examples; None for none.

    Returns:
        Dictionary from file, relative to `output`, to its size in bytes.

    Raises:
        InputError: a folder that is no converted network, or damaged, or of a DRNet, or of a
            network that reads pictures as they are stored; no LiteRT, or another version; pictures
            that cannot be read, or more than 100; an `output` with something else in it.
    """
    check_output(output)
    litert_dir = _checked_litert(litert_dir)
    description, classify = _checked_network(tflite_dir)
    examples = [] if pictures is None else _checked_examples(pictures, classify)
    with folder_replaced_whole(output, check=check_output) as folder:
        for name in (_STAGES, _EXAMPLES, f"{_LITERT}/wasm"):
            (folder / name).mkdir(parents=True)
        for source, name in _LITERT_FILES.items():
            shutil.copyfile(litert_dir / source, folder / _LITERT / name)
        for name in {stage["file"] for stage in description["stages"]}:
            shutil.copyfile(pathlib.Path(tflite_dir, name), folder / _STAGES / name)
        bundled = []
        for place, (path, content) in enumerate(examples, start=1):
            file = f"{_EXAMPLES}/{place:03}{path.suffix.lower()}"
            (folder / file).write_bytes(content)
            bundled.append({"file": file, "name": path.stem})
        network = _network(description, folder / _STAGES, bundled)
        (folder / _NETWORK_FILE).write_text(json.dumps(network), encoding="utf-8")
        for name in _PAGE_FILES:
            (folder / name).write_text(_page_file(name), encoding="utf-8")
        return {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }


def check_output(directory):
    """Refuses an output folder that holds something else than a page of before."""
    check_replaceable(
        directory, program="savedmodels.web", marker=_NETWORK_FILE, is_ours=_OURS.__contains__
    )


def _checked_litert(directory):
    directory = pathlib.Path(directory)
    missing = [name for name in _LITERT_FILES if not (directory / name).is_file()]
    if missing:
        raise InputError(
            f"`litert_dir` must be the folder that `{_INSTALL}` makes, node_modules/@litertjs. "
            f"Received: {directory}, which has no {missing[0]}."
        )
    for package in ("core", "wasm-utils"):
        path = directory / package / "package.json"
        try:
            version = json.loads(path.read_text(encoding="utf-8"))["version"]
        except (ValueError, KeyError, TypeError):
            version = None
        if not isinstance(version, str) or not version.startswith(_LITERT_VERSIONS):
            raise InputError(
                f"`litert_dir` must hold version {_LITERT_VERSIONS}x, as `{_INSTALL}` gives it. "
                f"Received: {path} of version {version!r}."
            )
    return directory


def _checked_network(directory):
    """The description of a network that the page can run, and its classifier."""
    description = read_description(directory, {})
    if "branches" in description:
        raise InputError(
            "`tflite_dir` must be of a network with exits, which the page runs one after another. "
            f"Received: {directory}, a DRNet."
        )
    if "stages" not in description:
        raise InputError(
            "`tflite_dir` must be a folder that savedmodels.convert_tflite wrote. "
            f"Received: {directory}, which another program wrote."
        )
    if description["picture_reading"] != AS_SEEN:
        raise InputError(
            "`tflite_dir` must be of a network that reads pictures as seen, as browsers do: turned "
            "as the camera was held, and on white. Received: "
            f"{pathlib.Path(directory, DESCRIPTION_FILE)} with "
            f"picture_reading={description['picture_reading']!r}."
        )
    # It runs every stage once, so that what is damaged is refused here.
    return description, load_classifier(directory)


def _checked_examples(folder, classify):
    """A list of `(path, content)` of pictures that the network can be given."""
    if not pathlib.Path(folder).is_dir():
        raise InputError(f"`pictures` must be a folder. Received: pictures={folder}.")
    paths, refused = find_pictures([str(folder)])
    for path, reason in refused.items():
        raise InputError(f"`pictures` must be a folder of pictures: {reason} Received: {path}.")
    if len(paths) > _MOST_EXAMPLES:
        raise InputError(
            f"`pictures` must be at most {_MOST_EXAMPLES}. Received: {folder} with {len(paths)}."
        )
    examples = []
    for path in map(pathlib.Path, paths):
        try:
            content = read_picture(path)
            classify(content)
        except InputError as error:
            raise InputError(f"`pictures` must all be readable. {error} It is: {path}.") from error
        examples.append((path, content))
    return examples


def _network(description, stages, examples):
    """What `network.json` holds: of each exit that is on, and nothing of those that are off."""
    num_exits = len(description["thresholds"]) + 1
    point = OperatingPoint.from_description(description, num_exits)
    places = [number - 1 for number in point.enabled_exits]
    points = operating_points(point)
    parts = description["stages"]
    files = described_files(stages, {part["file"] for part in parts})
    scale, offset = scale_and_offset(description["mean"], description["std"])
    macs = description.get("exit_macs")
    return {
        "stages": [
            {"exit": number, **part, **files[part["file"]]}
            for number, part in zip(point.enabled_exits, parts, strict=True)
        ],
        "scales": _numbers(point.scales[places]),
        "measure": point.measure,
        "exit_macs": macs and [macs[place] for place in places],
        "points": [
            {"words": words, "thresholds": _numbers(thresholds[places[:-1]])}
            for words, thresholds in zip(points.words, points.thresholds, strict=True)
        ],
        "chosen": points.chosen,
        "cheap_end": points.cheap_end,
        "image_shape": description["image_shape"],
        "center_crop": description["center_crop"],
        "scale": _numbers(scale),
        "offset": _numbers(offset),
        "class_names": description["class_names"],
        "examples": examples,
    }


def _numbers(values):
    """As short as they read back to the same float32; None for `NEVER`."""
    return [None if value == NEVER else float(str(value)) for value in values]


def _page_file(name):
    text = importlib.resources.files(__package__).joinpath(name).read_text("utf-8")
    if name != _INDEX:
        return text
    digest = base64.b64encode(hashlib.sha256(_IMPORT_MAP.encode()).digest()).decode()
    return text.replace("__IMPORT_MAP_SHA256__", digest).replace("__IMPORT_MAP__", _IMPORT_MAP)
