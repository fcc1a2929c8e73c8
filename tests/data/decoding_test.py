"""Every kind of file through every way in, against Pillow."""

import functools
import io
import struct

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tensorflow as tf

from tests.pictures import (
    BAD_NOTES,
    BOMBS,
    COLOUR,
    FEW,
    FILES,
    HEIGHT,
    HOSTILE,
    JPEG,
    WIDTH,
    exif,
    gif_on_canvas,
    jpeg_noting,
    saved,
    tiff,
    with_fields,
)
from tf_adaptive.data import load_dataset
from tf_adaptive.data.decoding import decode
from tf_adaptive.data.preprocessing import Preprocessing
from tf_adaptive.errors import InputError
from tf_adaptive.pictures import AS_SEEN, AS_STORED, MAX_PIXELS, PICTURE_SUFFIXES

# Of grey from a colour JPEG, and of CMYK, which others convert in other ways.
JPEG_TOLERANCE = 10


@functools.cache
def decoder(channels=3, picture_reading=AS_SEEN):
    return tf.function(
        functools.partial(decode, channels=channels, picture_reading=picture_reading),
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
    )


def decoded(file, *arguments):
    return decoder(*arguments)(tf.constant(file)).numpy()


@functools.cache
def preparer(image_shape, center_crop, picture_reading):
    prepare = Preprocessing(
        image_shape=image_shape,
        mean=[0] * 3,
        std=[1] * 3,
        center_crop=center_crop,
        picture_reading=picture_reading,
    )
    return tf.function(
        prepare.decoded, input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False
    )


def prepared(file, image_shape, center_crop=False, picture_reading=AS_SEEN):
    return preparer(image_shape, center_crop, picture_reading)(tf.constant([file]))[0].numpy()


def on_white(image):
    image = image.convert("RGBA")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)


def by_pillow(file, channels=3):
    image = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(file)))
    image = on_white(image).convert("RGB").convert("RGB" if channels == 3 else "L")
    return np.asarray(image).reshape(*image.size[::-1], channels)


def assert_is_read(pixels, name, expected):
    assert pixels.shape == expected.shape
    difference = np.abs(pixels.astype(int) - expected).max()
    converted = name in JPEG and (pixels.shape[-1] == 1 or name == "print_again.jpg")
    assert difference <= (JPEG_TOLERANCE if converted else 0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FILES)
def test_is_read_as_pillow_reads_it(name, channels):
    file = FILES[name]
    assert_is_read(decoded(file, channels), name, by_pillow(file, channels))


@pytest.mark.parametrize("name", FILES)
def test_preprocessing_reads_the_same(name):
    pixels = decoded(FILES[name])
    np.testing.assert_array_equal(prepared(FILES[name], pixels.shape), pixels)


@pytest.mark.parametrize("picture_reading", [AS_SEEN, AS_STORED])
def test_training_reads_the_same(tmp_path, picture_reading):
    names = sorted(set(FILES) - {"two.bmp"})
    for part in ("train", "test"):
        for kind in ("a", "b"):
            (tmp_path / part / kind).mkdir(parents=True)
            for number in range(3 if part == "train" else 1):
                path = tmp_path / part / kind / f"{number}.png"
                path.write_bytes(FILES["colour.png"])
    for name in names:
        (tmp_path / "test" / "a" / name).write_bytes(FILES[name])
    dataset = load_dataset(
        f"folder:{tmp_path}", image_size=16, validation_size=2, picture_reading=picture_reading
    )
    assert dataset.description()["picture_reading"] == picture_reading
    # "0.png" is before the others.
    pictures = dataset.pictures("test", range(1, 1 + len(names)))
    for name, picture in zip(names, pictures, strict=True):
        expected = prepared(FILES[name], (16, 16, 3), True, picture_reading)
        np.testing.assert_array_equal(picture, expected)


def test_the_high_byte_of_16_bits():
    values = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 200
    file = saved(PIL.Image.fromarray(values), "PNG")
    np.testing.assert_array_equal(decoded(file, 1)[..., 0], values >> 8)


def test_what_a_gif_leaves_of_its_canvas_is_white():
    pixels = decoded(gif_on_canvas())
    assert pixels.shape == (30, 20, 3)
    np.testing.assert_array_equal(pixels[3 : 3 + HEIGHT, 2 : 2 + WIDTH], decoded(saved(FEW, "GIF")))
    assert pixels[:3].min() == pixels[:, :2].min() == pixels[:, 2 + WIDTH :].min() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_orientations(format, orientation):
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(format, {})
    file = saved(COLOUR, format, exif=exif(orientation), **options)
    pixels = decoded(file)
    assert pixels.shape == ((HEIGHT, WIDTH, 3) if orientation < 5 else (WIDTH, HEIGHT, 3))
    np.testing.assert_array_equal(pixels, by_pillow(file))
    plain = decoded(saved(COLOUR, format, **options), 3, AS_STORED)
    np.testing.assert_array_equal(decoded(file, 3, AS_STORED), plain)


@pytest.mark.parametrize(
    "name", ["colour.png", "alpha.png", "palette_transparent.png", "turned.png", "turned.jpg"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_of_before_keep_their_pixels(name, channels):
    expected = tf.io.decode_image(FILES[name], channels=channels, expand_animations=False)
    np.testing.assert_array_equal(decoded(FILES[name], channels, AS_STORED), expected)


@pytest.mark.parametrize("name", ["palette_8.bmp", "colour.bmp", "colour.gif", "lossy.webp"])
def test_networks_of_before_keep_their_pixels_of_rare_kinds(name):
    expected = tf.io.decode_image(FILES[name], channels=3, expand_animations=False)
    np.testing.assert_array_equal(decoded(FILES[name], 3, AS_STORED), expected)


def is_turned(file):
    height, width, _ = decoded(file).shape
    assert {height, width} == {HEIGHT, WIDTH}
    return width == HEIGHT


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_orders_of_bytes(order):
    assert is_turned(jpeg_noting(tiff(order=order)))


@pytest.mark.parametrize(
    "notes",
    BAD_NOTES,
)
def test_bad_notes_are_none(notes):
    assert not is_turned(jpeg_noting(notes))


def test_more_entries_are_claimed_than_there_are():
    assert is_turned(jpeg_noting(tiff(count=65535)))


def test_notes_that_are_cut_anywhere():
    notes = tiff()
    for length in range(len(notes)):
        # Whatever comes of it, nothing is raised.
        assert is_turned(jpeg_noting(notes[:length])) in (False, length >= 22)
        chunk = struct.pack(">I4s", length, b"eXIf") + notes[:length] + bytes(4)
        file = FILES["colour.png"]
        assert decoded(file[:33] + chunk + file[33:]).shape[-1] == 3


@pytest.mark.parametrize("name", ["turned.jpg", "turned.png", "turned.webp"])
def test_files_that_are_cut_or_changed_anywhere_end_in_pixels_or_words(name):
    file = FILES[name]
    generator = np.random.default_rng(0)
    for length in range(0, len(file), 7):
        changed = bytearray(file)
        changed[generator.integers(len(file))] = generator.integers(256)
        for damaged in (file[:length], bytes(changed)):
            try:
                assert decoded(damaged).shape[-1] == 3
            except tf.errors.InvalidArgumentError as error:
                assert "slice" not in error.message.lower()


@pytest.mark.parametrize(
    "file",
    HOSTILE,
)
def test_hostile_files_are_refused(file):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoded(file)


@pytest.mark.parametrize("picture_reading", [AS_SEEN, AS_STORED])
@pytest.mark.parametrize("name", BOMBS)
def test_large_pictures_are_refused_before_they_are_decoded(name, picture_reading):
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"from 1 to {MAX_PIXELS} pixels"):
        decoded(BOMBS[name], 3, picture_reading)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ([(30, "<I", 1)], r"\[40\] \[8\] \[1\]"),
        ([(28, "<H", 16)], r"\[40\] \[16\] \[0\]"),
        ([(28, "<H", 32), (30, "<I", 3)], r"\[40\] \[32\] \[3\]"),
        ([(14, "<I", 12)], r"\[12\] \[8\] \[0\]"),
    ],
)
def test_other_bmp_files_are_refused_in_words(changes, found):
    file = with_fields(FILES["palette_8.bmp"], *changes)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"must be uncompressed.*{found}"):
        decoded(file)


def test_a_bmp_file_with_a_palette_that_is_cut():
    with pytest.raises(tf.errors.InvalidArgumentError, match="BMP file must be whole"):
        decoded(FILES["palette_8.bmp"][:-1])


def test_alpha_and_colour_of_every_level():
    colour, alpha = np.meshgrid(np.arange(256), np.arange(256))
    pixels = np.dstack([colour] * 3 + [alpha]).astype("uint8")
    file = saved(PIL.Image.fromarray(pixels), "PNG")
    np.testing.assert_array_equal(decoded(file), by_pillow(file))


def test_only_readings_that_there_are(tmp_path):
    with pytest.raises(InputError, match="`picture_reading` must be one of as_seen, as_stored"):
        load_dataset("digits", picture_reading="as_sean")


def test_suffixes_have_no_doubles_and_are_lower_case():
    assert len(set(PICTURE_SUFFIXES)) == len(PICTURE_SUFFIXES)
    assert all(suffix == suffix.lower() for suffix in PICTURE_SUFFIXES)
