"""Every kind of file through every way in, against Pillow."""

import functools
import io
import struct

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tensorflow as tf

from tf_adaptive.data import decoding, load_dataset
from tf_adaptive.data.decoding import AS_SEEN, AS_STORED, MAX_PIXELS, decode
from tf_adaptive.data.preprocessing import Preprocessing
from tf_adaptive.errors import InputError

HEIGHT, WIDTH = 21, 14
# Decoders of JPEG differ by a few levels, those of CMYK by more.
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


def saved(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def on_white(image):
    image = image.convert("RGBA")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)


def by_pillow(file, channels=3):
    image = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(file)))
    image = on_white(image).convert("RGB").convert("RGB" if channels == 3 else "L")
    return np.asarray(image).reshape(*image.size[::-1], channels)


def smooth(channels):
    """Photographs have no single bright pixels, and lose little as JPEG."""
    noise = np.random.default_rng(channels).uniform(0, 255, (4, 3, channels))
    pixels = tf.image.resize(noise, (HEIGHT, WIDTH)).numpy().round().astype("uint8")
    return PIL.Image.fromarray(pixels[..., 0] if channels == 1 else pixels)


def exif(orientation):
    notes = PIL.Image.Exif()
    notes[0x0112] = orientation
    return notes.tobytes()


def with_fields(file, *fields):
    """A file with these `(position, format, value)` in it."""
    file = bytearray(file)
    for position, kind, value in fields:
        struct.pack_into(kind, file, position, value)
    return bytes(file)


def bmp_with_alpha(image):
    """As programs for painting write it: a header of 124 bytes with masks."""
    pixels = np.asarray(image)[::-1, :, [2, 1, 0, 3]].tobytes()
    begin = 14 + 124
    header = struct.pack("<2sIHHI", b"BM", begin + len(pixels), 0, 0, begin)
    header += struct.pack("<IiiHHIIiiII", 124, *image.size, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    return header + bytes(begin - len(header)) + pixels


def gif_on_canvas(**options):
    """A picture of a GIF, moved 2 right and 3 down on a canvas that is larger than it."""
    file = saved(smooth(3).quantize(16), "GIF", **options)
    descriptor = file.index(b",\0\0\0\0")
    return with_fields(
        file, (6, "<H", 20), (8, "<H", 30), (descriptor + 1, "<H", 2), (descriptor + 3, "<H", 3)
    )


COLOUR, ALPHA, GREY = smooth(3), smooth(4), smooth(1)
GREY_ALPHA = PIL.Image.merge("LA", [GREY, ALPHA.getchannel("A")])
FEW = COLOUR.quantize(16)
EXACT = {
    "grey.png": saved(GREY, "PNG"),
    "grey_alpha.png": saved(GREY_ALPHA, "PNG"),
    "grey_transparent.png": saved(GREY, "PNG", transparency=GREY.getpixel((3, 3))),
    "colour.png": saved(COLOUR, "PNG"),
    "colour_transparent.png": saved(COLOUR, "PNG", transparency=COLOUR.getpixel((3, 3))),
    "alpha.png": saved(ALPHA, "PNG"),
    "palette.png": saved(FEW, "PNG"),
    "palette_transparent.png": saved(FEW, "PNG", transparency=3),
    "palette_alphas.png": saved(FEW, "PNG", transparency=bytes(range(0, 256, 16))),
    "two.png": saved(GREY.convert("1"), "PNG"),
    "turned.png": saved(ALPHA, "PNG", exif=exif(6)),
    "colour.bmp": saved(COLOUR, "BMP"),
    "grey.bmp": saved(GREY, "BMP"),
    "palette_8.bmp": saved(COLOUR.quantize(200), "BMP"),
    "palette_4.bmp": saved(FEW, "BMP", bits=4),
    "two.bmp": saved(GREY.convert("1"), "BMP"),
    "unused_byte.bmp": saved(ALPHA, "BMP"),
    "alpha.bmp": bmp_with_alpha(ALPHA),
    "top_down.bmp": with_fields(saved(FEW, "BMP"), (22, "<i", -HEIGHT)),
    "colour.gif": saved(FEW, "GIF"),
    "grey.gif": saved(GREY, "GIF"),
    "transparent.gif": saved(FEW, "GIF", transparency=3),
    "moving.gif": saved(FEW, "GIF", save_all=True, append_images=[FEW.rotate(180)] * 2),
    "commented.gif": saved(FEW, "GIF", comment=b"words " * 200, transparency=3),
    "on_canvas.gif": gif_on_canvas(transparency=3),
    "lossy.webp": saved(COLOUR, "WEBP"),
    "lossy_alpha.webp": saved(ALPHA, "WEBP"),
    "lossless.webp": saved(COLOUR, "WEBP", lossless=True),
    "alpha.webp": saved(ALPHA, "WEBP", lossless=True),
    "moving.webp": saved(
        COLOUR, "WEBP", lossless=True, save_all=True, append_images=[COLOUR.rotate(180)]
    ),
    "moving_alpha.webp": saved(
        ALPHA, "WEBP", lossless=True, save_all=True, append_images=[ALPHA.rotate(180)]
    ),
    "turned.webp": saved(ALPHA, "WEBP", lossless=True, exif=exif(7)),
}
JPEG = {
    "grey.jpg": saved(GREY, "JPEG", quality=95),
    "colour.jpeg": saved(COLOUR, "JPEG", quality=95),
    "progressive.jpg": saved(COLOUR, "JPEG", quality=95, progressive=True),
    "print_again.jpg": saved(COLOUR.convert("CMYK"), "JPEG", quality=95),
    "turned.jpg": saved(COLOUR, "JPEG", quality=95, exif=exif(8)),
}
FILES = EXACT | JPEG


def assert_is_read(pixels, name, expected):
    assert pixels.shape == expected.shape
    difference = np.abs(pixels.astype(int) - expected).max()
    assert difference <= (JPEG_TOLERANCE if name in JPEG else 0)


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
    tolerance = JPEG_TOLERANCE if format == "JPEG" else 0
    pixels = decoded(file)
    assert pixels.shape == ((HEIGHT, WIDTH, 3) if orientation < 5 else (WIDTH, HEIGHT, 3))
    np.testing.assert_allclose(pixels.astype(int), by_pillow(file), atol=tolerance)
    plain = decoded(saved(COLOUR, format, **options))
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


def tiff(*, order="<", magic=42, directory=8, count=1, tag=0x0112, kind=3, number=1, value=6):
    name = b"II" if order == "<" else b"MM"
    file = name + struct.pack(f"{order}HI", magic, directory)
    return file + struct.pack(f"{order}HHHIHHI", count, tag, kind, number, value, 0, 0)


def jpeg_with(*segments):
    parts = [
        b"".join((b"\xff", marker, struct.pack(">H", 2 + len(data)), data))
        for marker, data in segments
    ]
    return b"\xff\xd8" + b"".join(parts) + saved(COLOUR, "JPEG", quality=95)[2:]


def jpeg_noting(notes):
    return jpeg_with((b"\xe1", b"Exif\0\0" + notes))


def is_turned(file):
    height, width, _ = decoded(file).shape
    assert {height, width} == {HEIGHT, WIDTH}
    return width == HEIGHT


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_orders_of_bytes(order):
    assert is_turned(jpeg_noting(tiff(order=order)))


@pytest.mark.parametrize(
    "notes",
    [
        b"",
        tiff(magic=43),
        tiff(directory=0),
        tiff(directory=2**32 - 1),
        tiff(directory=7),
        tiff(count=0),
        tiff(tag=0x0113),
        tiff(kind=2),
        tiff(number=2),
        tiff(value=0),
        tiff(value=9),
        tiff(value=65535),
        b"XX" + tiff()[2:],
    ],
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
    [
        # No length moves on, and lengths that lead out of the file.
        b"\xff\xd8\xff\xe0" + bytes(10**5),
        b"\xff\xd8" + b"\xff\xe1\0\0" * 10**5,
        b"\xff\xd8" + b"\xff" * 10**5,
        FILES["colour.png"][:33] + (b"\0\0\0\0eXIF" + bytes(4)) * 10**4,
        FILES["colour.png"][:33] + b"\xff\xff\xff\xffeXIf",
        b"RIFF\xff\xff\xff\xffWEBPVP8X\x0a\0\0\0" + b"\0" * 10 + b"AAAA\0\0\0\0" * 10**4,
        b"GIF89a\1\0\1\0\0\0\0" + b"!\xfe\0" * 10**5,
        b"GIF89a\1\0\1\0\0\0\0" + b"!\xfe" + b"\1\1" * 10**6,
        b"GIF89a\1\0\1\0\0\0\0," + bytes(5) + b"\1" * 50,
        b"GIF89a\1\0\1\0\0\0\0;" + bytes(20),
    ],
)
def test_hostile_files_are_refused(file):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoded(file)


LARGE = 2**13
BOMBS = {
    "png": with_fields(FILES["colour.png"], (16, ">I", LARGE), (20, ">I", LARGE)),
    "bmp": with_fields(FILES["colour.bmp"], (18, "<I", LARGE), (22, "<i", -LARGE)),
    "screen.gif": with_fields(FILES["colour.gif"], (6, "<H", LARGE), (8, "<H", LARGE)),
    "picture.gif": with_fields(
        FILES["colour.gif"],
        (FILES["colour.gif"].index(b",\0\0\0\0") + 5, "<H", LARGE),
        (FILES["colour.gif"].index(b",\0\0\0\0") + 7, "<H", LARGE),
    ),
    "lossy.webp": with_fields(FILES["lossy.webp"], (26, "<H", LARGE), (28, "<H", LARGE)),
    "lossless.webp": with_fields(FILES["lossless.webp"], (21, "<I", 2**28 - 1)),
    "moving.webp": with_fields(FILES["moving.webp"], (24, "<I", 2**24 - 1), (27, "<H", 65535)),
    "jpg": with_fields(
        FILES["grey.jpg"],
        (FILES["grey.jpg"].index(b"\xff\xc0") + 5, ">H", LARGE),
        (FILES["grey.jpg"].index(b"\xff\xc0") + 7, ">H", LARGE),
    ),
}


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
    assert len(set(decoding.PICTURE_SUFFIXES)) == len(decoding.PICTURE_SUFFIXES)
    assert all(suffix == suffix.lower() for suffix in decoding.PICTURE_SUFFIXES)
