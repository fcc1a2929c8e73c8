"""Files of pictures of every kind, good, damaged and hostile."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import tensorflow as tf

HEIGHT, WIDTH = 21, 14


def saved(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


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


def with_checksum(png):
    """A PNG file whose first chunk was changed, with the checksum of that."""
    return with_fields(png, (29, ">I", zlib.crc32(png[12:29])))


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


BAD_NOTES = [
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
]

HOSTILE = [
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
]

LARGE = 2**13
BOMBS = {
    "png": with_checksum(with_fields(FILES["colour.png"], (16, ">I", LARGE), (20, ">I", LARGE))),
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
