"""A converted network as a function from a picture's file to an answer."""

import io

from tf_adaptive.errors import InputError
from tf_adaptive.extras import check_extra
from tf_adaptive.pictures import AS_STORED
from tf_adaptive.runs.stored_fields import PICTURE_READING

from ..description import mark_of, read_description
from .exit_runner import StagedRunner
from .load_runner import load_runner
from .run import PictureError, read_image


class TFLiteClassifier:
    """Decodes and resizes with Pillow and NumPy, and runs the network with LiteRT.

    Args:
        directory: folder that `savedmodels.convert_tflite` wrote.
        thresholds: see `savedmodels.classifiers.load_classifier`.

    Attributes:
        class_names, kind, exit_macs, threads, directory, mark: see `load_classifier`.
    """

    # What a runner's stages hand on stays in its buffers.
    threads = 1

    def __init__(self, directory, *, thresholds=None):
        check_extra("tflite")
        self.directory, self.mark = directory.resolve(), mark_of(directory)
        description = read_description(directory, {})
        self.class_names = tuple(description["class_names"])
        self.exit_macs = description.get("exit_macs")
        self._read = _reader(description)
        self._runner = load_runner(directory, thresholds=thresholds)
        # Every file is loaded now: none that is missing is taken for a picture's fault.
        blank = self._read(_blank_file())
        if isinstance(self._runner, StagedRunner):
            self.kind = "exit"
            self._runner.all_exits(blank)
        else:
            self.kind = "resolution"
            self._runner.all_resolutions(blank)

    def __call__(self, encoded):
        answer = self._runner(self._read(encoded))
        return {
            "class": answer.class_number,
            "label": answer.class_name,
            "confidence": answer.confidence,
            self.kind: getattr(answer, self.kind),
        }

    def many(self, encoded):
        return [self(one) for one in encoded]


def _blank_file():
    # Pillow is of an extra.
    import PIL.Image

    file = io.BytesIO()
    PIL.Image.new("L", (8, 8)).save(file, "PNG")
    return file.getvalue()


def _reader(description):
    """A function from the bytes of a picture's file to uint8 `(height, width, channels)`."""
    if description[PICTURE_READING] == AS_STORED:
        # Only these need TensorFlow.
        from .stored_pictures import stored_reader

        return stored_reader(description)

    def read(content):
        try:
            return read_image(content, description)
        except PictureError as error:
            raise InputError(str(error)) from error

    return read
