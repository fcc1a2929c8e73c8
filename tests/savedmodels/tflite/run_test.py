"""The file that a converted network is used with where nothing of this package is."""

import functools
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sysconfig
import venv

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from packaging.requirements import Requirement

from savedmodels.tflite.run import PictureError, decoded, read_image, resized
from tests import pictures
from tests.trainers.programs import REPOSITORY, run_program
from tf_adaptive import pictures as limits
from tf_adaptive.data.augmentation import resize, resized_center_crop
from tf_adaptive.data.decoding import decode
from tf_adaptive.files import replaced_whole


@functools.cache
def graph(channels):
    """What training and SavedModels read a file with."""
    return tf.function(
        functools.partial(decode, channels=channels),
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
    )


def in_graph(file, channels=3):
    return graph(channels)(tf.constant(file)).numpy()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", pictures.FILES)
def test_reads_every_kind_of_file_as_training_does(name, channels):
    file = pictures.FILES[name]
    np.testing.assert_array_equal(decoded(file, channels), in_graph(file, channels))


def test_reads_rarer_files_as_training_does():
    values = np.arange(21 * 14, dtype=np.uint16).reshape(21, 14) * 200
    for file in (
        pictures.gif_on_canvas(),
        pictures.saved(PIL.Image.fromarray(values), "PNG"),
        pictures.saved(PIL.Image.fromarray(values), "PNG", transparency=400),
        pictures.saved(pictures.COLOUR.convert("CMYK"), "JPEG", quality=50),
        pictures.saved(pictures.COLOUR, "JPEG", quality=30, subsampling=2),
        pictures.saved(pictures.COLOUR, "JPEG", keep_rgb=True),
    ):
        for channels in (1, 3):
            np.testing.assert_array_equal(decoded(file, channels), in_graph(file, channels))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_turns_as_training_does(format, orientation):
    notes = pictures.exif(orientation)
    file = pictures.saved(pictures.COLOUR, format, exif=notes, **_LOSSLESS.get(format, {}))
    np.testing.assert_array_equal(decoded(file, 3), in_graph(file))


_LOSSLESS = {"WEBP": {"lossless": True}}


def test_notes_that_are_bad_or_cut():
    notes = pictures.tiff(order=">")
    cut = [notes[:length] for length in range(len(notes))]
    for each in (*pictures.BAD_NOTES, *cut, pictures.tiff(count=65535), notes):
        file = pictures.jpeg_noting(each)
        np.testing.assert_array_equal(decoded(file, 3), in_graph(file))


@pytest.mark.parametrize("file", [b"", b"text" * 20, *pictures.HOSTILE])
def test_refuses_what_is_no_picture(file):
    with pytest.raises(PictureError, match="^Every image must be a .*BMP, GIF, .* Received: .+"):
        decoded(file, 3)


@pytest.mark.parametrize("name", pictures.BOMBS)
def test_refuses_large_pictures_before_they_are_decoded(name):
    # Pillow's own decoder of pictures that move refuses them first.
    reason = "damaged WEBP" if name == "moving.webp" else f"from 1 to {limits.MAX_PIXELS} pixels"
    with pytest.raises(PictureError, match=reason):
        decoded(pictures.BOMBS[name], 3)


@pytest.mark.parametrize("name", ["turned.jpg", "turned.png", "turned.webp", "colour.gif"])
def test_files_that_are_cut_or_changed_anywhere_end_in_pixels_or_words(name):
    file = pictures.FILES[name]
    generator = np.random.default_rng(0)
    refused = 0
    for length in range(0, len(file), 7):
        changed = bytearray(file)
        changed[generator.integers(len(file))] = generator.integers(256)
        for damaged in (file[:length], bytes(changed)):
            try:
                assert decoded(damaged, 3).shape[-1] == 3
            except PictureError as error:
                assert not set("\n<>") & set(str(error))
                refused += 1
    assert refused > 10


def test_refuses_a_png_file_without_its_end():
    file = pictures.FILES["alpha.png"]
    for cut in range(5, 30):
        with pytest.raises(PictureError, match="damaged PNG"):
            decoded(file[:-cut], 3)


def test_resizes_to_the_bit_as_training_does():
    generator = np.random.default_rng(0)
    for height, width, *extent in generator.integers(1, 200, (30, 4)):
        image = generator.integers(0, 256, (height, width, 3), np.uint8)
        expected = resize(image, np.int32(extent)).numpy()
        np.testing.assert_array_equal(resized(image, extent, (0, 0), extent), expected)


def test_crops_to_the_bit_as_training_does():
    generator = np.random.default_rng(0)
    for height, width, size in generator.integers(8, 200, (20, 3)):
        image = generator.integers(0, 256, (height, width, 3), np.uint8)
        file = pictures.saved(PIL.Image.fromarray(image), "PNG")
        description = {"image_shape": [size, size, 3], "center_crop": True}
        expected = resized_center_crop(image, size=int(size)).numpy()
        np.testing.assert_array_equal(read_image(file, description), expected)
    thin = pictures.saved(PIL.Image.new("L", (limits.MAX_ASPECT_RATIO + 1, 1)), "PNG")
    with pytest.raises(PictureError, match="at most 100 times as long as wide. .* 1 101"):
        read_image(thin, description)


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An environment of what `pip install numpy ai-edge-litert pillow` brings, and no more."""
    folder = tmp_path_factory.mktemp("fresh") / "environment"
    venv.create(folder)
    install(folder, "numpy", "ai-edge-litert", "pillow")
    return folder / "bin" / "python"


def install(environment, *names):
    """Distributions of the tests' own environment and all they need, in another one."""
    inside = pathlib.Path(
        sysconfig.get_path("purelib", vars={"base": environment, "platbase": environment})
    )
    waiting, done = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files:
            top = inside / file.parts[0]
            if file.parts[0] != ".." and not top.exists():
                top.symlink_to(distribution.locate_file(file.parts[0]))
        for requirement in map(Requirement, distribution.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)


@pytest.fixture(scope="module")
def given(network, tmp_path_factory):
    """Paths of pictures of several kinds and sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, picture in enumerate(network.pictures[:8]):
        PIL.Image.fromarray(picture[..., 0]).save(folder / f"{number}.png")
    for name in ("turned.jpg", "alpha.webp", "on_canvas.gif", "palette_8.bmp"):
        (folder / name).write_bytes(pictures.FILES[name])
    return sorted(map(str, folder.iterdir()))


def run(python, *arguments, status=0, **options):
    finished = subprocess.run(
        [python, *map(str, arguments)], capture_output=True, text=True, **options
    )
    assert finished.returncode == status, finished.stderr
    # LiteRT tells what it runs on.
    lines = [line for line in finished.stderr.splitlines() if not line.startswith("INFO: Created")]
    return finished.stdout, lines


def answers(stdout):
    rows = [json.loads(line) for line in stdout.splitlines()]
    for row in rows:
        row.pop("seconds", None)
    return rows


def predicted(folder, given, *flags):
    finished = run_program("savedmodels.predict", "--model_dir", folder, "--json", *flags, *given)
    assert (finished.status, finished.stderr) == (0, "")
    return answers(finished.stdout)


def test_answers_in_a_fresh_environment_bit_for_bit_as_predict(python, folder, given):
    stdout, stderr = run(python, folder / "run.py", "--json", *given)
    assert stderr == []
    assert answers(stdout) == predicted(folder, given)


def test_every_way_to_leave(python, float32_stages, given, tmp_path):
    text = (float32_stages / "description.json").read_text()
    for measure in ("max_probability", "margin", "entropy"):
        description = json.loads(text) | {
            "measure": measure,
            "thresholds": [0.3, None, 0.4],
            "temperatures": [1.3, 0.7, 1.0, 2.0],
        }
        copied = tmp_path / measure
        copied.mkdir()
        for path in float32_stages.iterdir():
            (copied / path.name).symlink_to(path)
        with replaced_whole(copied / "description.json") as temporary:
            temporary.write_text(json.dumps(description))
        # Where the folder is, not where the file it stands for is.
        stdout, _ = run(python, copied / "run.py", "--json", *given)
        rows = answers(stdout)
        assert rows == predicted(copied, given)
        assert 2 not in {row["exit"] for row in rows}


def test_routes_as_predict(python, drnet_float32, given):
    stdout, stderr = run(python, drnet_float32 / "run.py", "--json", *given)
    assert stderr == []
    rows = answers(stdout)
    assert {row["resolution"] for row in rows} <= {24, 16, 12}
    assert rows == predicted(drnet_float32, given)


def test_names_what_it_cannot_read_and_answers_the_others(python, float32_stages, given, tmp_path):
    (tmp_path / "none.png").write_bytes(b"text")
    paths = [tmp_path / "none.png", tmp_path / "missing.png", given[0]]
    stdout, stderr = run(python, float32_stages / "run.py", *paths, status=1)
    assert re.fullmatch(rf"{given[0]}  \d  [01]\.\d\d\d  exit [1-4]\n", stdout)
    assert len(stderr) == 2
    assert stderr[0].startswith(f"{paths[0]}: Every image must be a BMP, GIF, JPEG, PNG or WebP")
    assert stderr[1].startswith(f"{paths[1]}: ") and "No such file or directory" in stderr[1]


def test_folders_that_it_does_not_run(python, float32_stages, given, tmp_path):
    description = json.loads((float32_stages / "description.json").read_text())
    copied = tmp_path / "run.py"
    copied.write_text((float32_stages / "run.py").read_text())
    stored = json.dumps(description | {"picture_reading": "as_stored"})
    for text, reason in (
        (stored, "read as TensorFlow reads them: use savedmodels.predict"),
        (json.dumps(description), "No such file or directory: .*stage_1.tflite"),
    ):
        (tmp_path / "description.json").write_text(text)
        _, (line,) = run(python, copied, given[0], status=1)
        assert re.search(reason, line)


def test_predict_runs_a_converted_network_without_tensorflow(python, float32, given):
    install(python.parents[1], "absl-py", "tqdm", "lazy_loader")
    arguments = ("-m", "savedmodels.predict", "--model_dir", float32, "--json", *given)
    stdout, stderr = run(python, *arguments, cwd=REPOSITORY)
    assert stderr == []
    assert answers(stdout) == predicted(float32, given)
