"""Classifies pictures with the network in this folder, easy ones with a part of it.

    pip install numpy ai-edge-litert pillow
    python run.py photo.jpg more.png

This file needs nothing else. A line each: path, label, confidence, and the exit that the picture
left at, from 1, or the resolution that it was classified at; --json gives an object a line. A
picture that cannot be read is named on standard error, the others are answered, and the exit status
is 1. From Python:

    network = Network("folder of this file")
    network.classify(open("photo.jpg", "rb").read())
"""

import argparse
import io
import json
import pathlib
import sys
import warnings

import numpy as np

# By what their files begin with.
_KINDS = {
    "BMP": (b"BM",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "WEBP": (b"RIFF",),
}
_KINDS_IN_WORDS = "BMP, GIF, JPEG, PNG or WebP"
MAX_PIXELS = 2**25
# Where only the centre is seen: it is made small by its short side first.
MAX_ASPECT_RATIO = 100

_ORIENTATION_TAG, _SHORT, _ENTRY_BYTES = 0x0112, 3, 12
# By EXIF's orientation from 1 to 8, what makes a picture upright, the swap of the axes first.
_SWAPPED = (False, False, False, False, True, True, True, True)
_TOP_DOWN = (False, False, True, True, False, False, True, True)
_LEFT_RIGHT = (False, True, True, False, False, True, True, False)
# Brightness of red, green and blue in parts of 65,536.
_BRIGHTNESS = (19595, 38470, 7471)


class PictureError(ValueError):
    """A file that is no picture, a damaged one, or one of a size that is not read."""


class Network:
    """The network of a folder; for one thread at a time.

    Args:
        folder: that of this file, with `description.json` and the .tflite files.

    Attributes:
        class_names: a name per class.

    Raises:
        ValueError: the pictures of the network are read as TensorFlow reads them.
        OSError: a file is missing.
    """

    def __init__(self, folder):
        self._folder = pathlib.Path(folder)
        text = (self._folder / "description.json").read_text(encoding="utf-8")
        self._description = json.loads(text)
        if self._description.get("picture_reading") != "as_seen":
            raise ValueError(
                "The pictures of this network are read as TensorFlow reads them: use "
                "savedmodels.predict, which does. Received: picture_reading is not 'as_seen'."
            )
        self.class_names = tuple(self._description["class_names"])
        # Of each file that has been needed, what runs it.
        self._files = {}

    def classify(self, content):
        """Says what is in a picture.

        Args:
            content: bytes of its file.

        Returns:
            Dictionary of "class", from 0, "label", "confidence", and "exit", from 1, or
            "resolution", in pixels.

        Raises:
            PictureError: see there.
        """
        described = self._description
        image = read_image(content, described)
        images = normalized(image, described["mean"], described["std"])[np.newaxis]
        if "stages" in described:
            probabilities, confidence, exit = self._by_exits(images)
            left_at = {"exit": exit}
        else:
            probabilities, resolution = self._by_resolution(images)
            confidence, left_at = probabilities.max(), {"resolution": resolution}
        number = int(probabilities.argmax())
        label = self.class_names[number]
        return {"class": number, "label": label, "confidence": float(confidence), **left_at}

    def _by_exits(self, images):
        described, state = self._description, {}
        stages = described["stages"]
        enabled = described.get("enabled_exits") or range(1, len(stages) + 1)
        thresholds = np.float32([np.inf if t is None else t for t in described["thresholds"]])
        temperatures = described.get("temperatures") or [1.0] * (len(thresholds) + 1)

        def logits(place):
            part = stages[place]
            state.update(self._run(part, state if place else images))
            return state[part["logits"]][0]

        return first_sure(
            logits,
            enabled_exits=enabled,
            thresholds=thresholds,
            scales=(1 / np.float32(temperatures).astype("float64")).astype("float32"),
            measure=described["measure"],
        )

    def _by_resolution(self, images):
        predictor, branches = self._description["predictor"], self._description["branches"]
        choice = self._run(predictor, images)[predictor["logits"]][0].argmax()
        branch = branches[choice]
        return softmax(self._run(branch, images)[branch["logits"]][0]), branch["resolution"]

    def _run(self, part, given):
        """What a signature gives, by name; `given` is the image, or what stages before gave."""
        from ai_edge_litert.interpreter import Interpreter

        file = part["file"]
        if file not in self._files:
            if not (self._folder / file).is_file():
                raise FileNotFoundError(2, "No such file or directory", str(self._folder / file))
            self._files[file] = Interpreter(str(self._folder / file), num_threads=1)
        run = self._files[file].get_signature_runner(part["signature"])
        names = run.get_input_details()
        return run(**{name: given[name] if isinstance(given, dict) else given for name in names})


def first_sure(logits, *, enabled_exits, thresholds, scales, measure):
    """Runs stages up to the first exit whose confidence reaches its threshold.

    Args:
        logits: function of a place from 0 that runs the stage to the exit at that place of
            `enabled_exits`, after those before it, and gives float32 `(classes,)`.
        enabled_exits: numbers of exits, from 1; an image leaves at the last one at the latest.
        thresholds: float32 `(exits - 1,)`.
        scales: float32 `(exits,)`, what logits are multiplied by.
        measure: "max_probability", "margin" or "entropy".

    Returns:
        `(probabilities, confidence, exit)`: float32 `(classes,)`, a float and a number.
    """
    for place, number in enumerate(enabled_exits):
        probabilities = softmax(logits(place) * scales[number - 1])
        confidence = confidence_of(probabilities, measure)
        if place == len(enabled_exits) - 1 or confidence >= thresholds[number - 1]:
            return probabilities, confidence, number


def softmax(logits):
    """Probabilities of logits `(..., classes)`, of the same dtype."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def confidence_of(probabilities, measure):
    """How sure float32 probabilities `(..., classes)` are, float32 `(...)` from 0 to 1."""
    if measure == "max_probability":
        return probabilities.max(axis=-1)
    if measure == "margin":
        largest = np.partition(probabilities, -2, axis=-1)
        return largest[..., -1] - largest[..., -2]
    probabilities = probabilities.astype(np.float64)
    logarithms = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    entropy = -(probabilities * logarithms).sum(axis=-1) / np.log(probabilities.shape[-1])
    return np.clip(1 - entropy, 0, 1).astype(np.float32)


def normalized(image, mean, std):
    """A picture as the network takes it: float32 of the shape of a uint8 `image`."""
    mean, std = np.float32(mean), np.float32(std)
    return image.astype(np.float32) * (1 / (255 * std)) + -mean / std


def read_image(content, description):
    """A picture's file, decoded and resized: uint8 `(height, width, channels)`.

    Args:
        content: bytes of a BMP, GIF, JPEG, PNG or WebP file.
        description: dictionary of "image_shape", `[height, width, channels]`, and "center_crop",
            whether the network sees the centre of a picture and not all of it.

    Raises:
        PictureError: see there.
    """
    height, width, channels = description["image_shape"]
    image = decoded(content, channels)
    if not description["center_crop"]:
        return resized(image, (height, width), (0, 0), (height, width))
    extent = image.shape[:2]
    if max(extent) > MAX_ASPECT_RATIO * min(extent):
        raise PictureError(
            f"An image must be at most {MAX_ASPECT_RATIO} times as long as wide. "
            f"Received: an image of this height and width: {extent[0]} {extent[1]}."
        )
    short_side = round(height * 256 / 224)
    extent = [side * short_side // min(extent) for side in extent]
    begin = [(side - height) // 2 for side in extent]
    return resized(image, extent, begin, (height, width))


def decoded(content, channels):
    """A picture's file as people see it: upright, and what is seen through on white.

    Args:
        content: see `read_image`.
        channels: 1 or 3; colours become grey, or grey colours.

    Returns:
        uint8 `(height, width, channels)`.

    Raises:
        PictureError: see there.
    """
    # Here, as LiteRT above: what only runs stages or only reads pictures needs one of them.
    import PIL.Image

    kind = _kind(content)
    # Pillow warns of large pictures, and of damage that it reads past.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with PIL.Image.open(io.BytesIO(content), formats=[kind]) as image:
                _check_size(image)
                # Pillow does without the end of a file that has all pixels.
                if kind == "PNG" and b"IEND" not in content:
                    raise EOFError("it has no end")
                pixels = _pixels(image, kind, channels)
                # A PNG file may note it after its pixels.
                orientation = _orientation(image.info.get("exif", b""))
        except PictureError:
            raise
        except PIL.Image.DecompressionBombError as error:
            raise PictureError(
                f"An image must have from 1 to {MAX_PIXELS} pixels. Received: {error}"
            ) from error
        except MemoryError:
            raise
        # A damaged file raises whatever it leads Pillow to.
        except Exception as error:
            reason = str(error).partition("<_io")[0].strip().rstrip(".")
            raise PictureError(
                f"Every image must be a whole {_KINDS_IN_WORDS} file. "
                f"Received: a damaged {kind} file ({reason})."
            ) from error
    return _upright(pixels, orientation)


def resized(image, extent, begin, size):
    """Bilinear with antialiasing, rounded to uint8: a part of the resized image.

    Computed as TensorFlow does, number for number, rows first.

    Args:
        image: uint8 `(height, width, channels)`.
        extent: `(height, width)` of all of the resized image.
        begin: row and column of it at which the part begins.
        size: height and width of the part.

    Returns:
        uint8 `(*size, channels)`.
    """
    if tuple(extent) == image.shape[:2]:
        (top, left), (height, width) = begin, size
        return image[top : top + height, left : left + width]
    part = _along_first(image, extent[0], begin[0], size[0])
    part = _along_first(part.swapaxes(0, 1), extent[1], begin[1], size[1]).swapaxes(0, 1)
    return np.clip(np.rint(part), 0, 255).astype(np.uint8)


def _along_first(image, extent, begin, size):
    """An image with its first axis resized to `extent`, from `begin` on: float32 `(size, …)`."""
    length = len(image)
    one = np.float32(1)
    inverse = one / (np.float32(extent) / np.float32(length))
    reach = max(inverse, one)
    # TensorFlow multiplies by it, which rounds otherwise than to divide by `reach`.
    slope = one / reach
    centre = (np.arange(begin, begin + size, dtype=np.float32) + np.float32(0.5)) * inverse
    half = np.float32(0.5)
    first = np.maximum(np.ceil(centre - reach - half).astype(int), 0)
    last = np.minimum(np.floor(centre + reach - half).astype(int), length - 1)
    span = int((last - first).max()) + 1
    sources = first[:, np.newaxis] + np.arange(span)
    distance = np.abs((sources.astype(np.float32) + half - centre[:, np.newaxis]) * slope)
    weights = np.maximum(one - distance, np.float32(0)) * (sources <= last[:, np.newaxis])
    total = np.zeros(size, np.float32)
    for column in weights.T:
        total += column
    weights *= (one / total)[:, np.newaxis]
    result = np.zeros((size, *image.shape[1:]), np.float32)
    for place in range(span):
        rows = image[np.minimum(sources[:, place], length - 1)]
        result += weights[:, place, np.newaxis, np.newaxis] * rows.astype(np.float32)
    return result


def _kind(content):
    # As many bytes as the smallest picture has.
    if len(content) >= 30:
        for kind, starts in _KINDS.items():
            if content.startswith(starts) and (kind != "WEBP" or content[8:15] == b"WEBPVP8"):
                return kind
    raise PictureError(
        f"Every image must be a {_KINDS_IN_WORDS} file. "
        f"Received: something else, of this many bytes: {len(content)}."
    )


def _check_size(image):
    width, height = image.size
    if not 0 < height * width <= MAX_PIXELS:
        raise PictureError(
            f"An image must have from 1 to {MAX_PIXELS} pixels. "
            f"Received: an image of this height and width: {height} {width}."
        )


def _pixels(image, kind, channels):
    """uint8 `(height, width, channels)` of an opened file."""
    if image.mode == "CMYK":
        return _of_channels(_from_cmyk(image), channels)
    if kind == "JPEG" and channels == 1:
        # The brightness that is in the file.
        image.draft("L", None)
    if image.mode == "L" and kind == "JPEG":
        pixels = np.repeat(np.array(image)[..., np.newaxis], channels, axis=-1)
    elif image.mode.startswith("I;16"):
        pixels = _of_channels(_from_16_bits(image), channels)
    elif kind == "GIF" or image.has_transparency_data:
        pixels = _of_channels(_on_white(image), channels)
    else:
        pixels = _of_channels(np.array(image.convert("RGB")), channels)
    return pixels


def _from_cmyk(image):
    # Pillow turns all around, as those of Adobe's programs are stored.
    *colours, black = np.moveaxis(255 - np.array(image, int), -1, 0)
    if "adobe" not in image.info:
        colours, black = [255 - colour for colour in colours], 255 - black
    return np.stack([black * colour // 255 for colour in colours], axis=-1).astype(np.uint8)


def _from_16_bits(image):
    """The high byte of grey."""
    values = np.array(image)
    grey = (values >> 8).astype(np.uint8)
    if "transparency" in image.info:
        grey = np.where(values == image.info["transparency"], np.uint8(255), grey)
    return np.repeat(grey[..., np.newaxis], 3, axis=-1)


def _on_white(image):
    # A GIF's first picture may leave a part of the canvas free.
    place = image.tile[0][1] if image.format == "GIF" else (0, 0, *image.size)
    colours = image.convert("RGBA")
    white = colours.copy()
    white.paste("white", (0, 0, *image.size))
    white.alpha_composite(colours.crop(place), place[:2])
    return np.array(white)[..., :3]


def _of_channels(colours, channels):
    """uint8 `(height, width, channels)` of red, green and blue."""
    if channels == 3:
        return colours
    brightness = (colours.astype(np.int32) * _BRIGHTNESS).sum(axis=-1, keepdims=True)
    return ((brightness + 2**15) // 2**16).astype(np.uint8)


def _orientation(notes):
    """How a camera was held, from 1 to 8, by EXIF's notes; damaged ones are as good as none."""
    notes = notes.removeprefix(b"Exif\0\0")
    order = {b"II": "little", b"MM": "big"}.get(notes[:2], "little")

    def number(position, length):
        # Zeros after the end.
        return int.from_bytes(notes[position : position + length].ljust(length, b"\0"), order)

    if notes[:2] not in (b"II", b"MM") or number(2, 2) != 42:
        return 1
    directory = min(number(4, 4), len(notes))
    count = min(number(directory, 2), max(0, (len(notes) - directory - 2) // _ENTRY_BYTES))
    for entry in range(directory + 2, directory + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES):
        tag, kind, values = number(entry, 2), number(entry + 2, 2), number(entry + 4, 4)
        if (tag, kind, values) == (_ORIENTATION_TAG, _SHORT, 1):
            orientation = number(entry + 8, 2)
            return orientation if 1 <= orientation <= 8 else 1
    return 1


def _upright(pixels, orientation):
    place = orientation - 1
    if _SWAPPED[place]:
        pixels = pixels.swapaxes(0, 1)
    if _TOP_DOWN[place]:
        pixels = pixels[::-1]
    if _LEFT_RIGHT[place]:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", nargs="+", help="files")
    parser.add_argument("--json", action="store_true", help="an object per line")
    arguments = parser.parse_args()
    try:
        network = Network(pathlib.Path(__file__).parent)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    failed = 0
    for path in arguments.pictures:
        try:
            answer = network.classify(pathlib.Path(path).read_bytes())
        except (OSError, PictureError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed = 1
            continue
        if arguments.json:
            print(json.dumps({"path": path, **answer}))
        else:
            left_at = "exit" if "exit" in answer else "resolution"
            told = f"{answer['label']}  {answer['confidence']:.3f}  {left_at} {answer[left_at]}"
            print(f"{path}  {told}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
