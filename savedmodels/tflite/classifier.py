"""A converted network as a function from a picture's file to an answer."""

import io

import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.extras import check_extra
from tf_adaptive.pictures import AS_STORED
from tf_adaptive.runs.stored_fields import PICTURE_READING

from ..description import mark_of, read_description
from .batch_runner import BatchRunner
from .exit_runner import StagedRunner
from .load_runner import load_runner
from .run import PictureError, read_image


class TFLiteClassifier:
    """Decodes and resizes with Pillow and NumPy, and runs the network with LiteRT.

    Args:
        directory: folder that `savedmodels.convert_tflite` wrote.
        thresholds: see `savedmodels.classifiers.load_classifier`.

    Attributes:
        class_names, kind, exit_macs, threads, pictures_at_once, directory, mark: see
            `load_classifier`.
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
        self._batches, self.pictures_at_once = None, 1
        if len(description.get("batch_sizes") or [1]) > 1:
            batches = BatchRunner(directory, thresholds=thresholds)
            self.pictures_at_once = batches.best_batch_size
            # Where one image at a time is as fast, nothing waits for others.
            self._batches = None if self.pictures_at_once == 1 else batches
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
        if self._batches is None or not encoded:
            return [self(one) for one in encoded]
        answer = self._batches(np.stack([self._read(one) for one in encoded]))
        columns = [answer[name] for name in ("class", "confidence", "exit")]
        return [
            {
                **{"class": int(number), "label": self.class_names[number]},
                **{"confidence": float(confidence), "exit": int(at)},
            }
            for number, confidence, at in zip(*columns, strict=True)
        ]


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
