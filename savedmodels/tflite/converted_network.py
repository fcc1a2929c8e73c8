"""The folder of a converted network, opened: its description, its image, its files."""

import pathlib
import time

import numpy as np

from tf_adaptive.errors import InputError

from ..description import DESCRIPTION_FILE, FILES_FIELD, check_described_file, read_description
from .answer import Answer
from .compiled import Compiler, Signature, shape_of
from .run import normalized

# What a runner must know of a signature.
_PART_FIELDS = {"signature": str, "file": str, "logits": str}


class ConvertedNetwork:
    """A folder that `savedmodels.convert_tflite` wrote, whose files are loaded when needed.

    A network's signatures are its parts: dictionaries of "signature", the name, "file", where it
    is, and "logits", which of its outputs those are. The first part that is loaded takes the image
    and nothing else; what it was given and what each part writes stays in buffers that later parts
    read from, and is not copied.

    Args:
        directory: the folder.
        fields: dictionary from name to type of what the description must hold beside that of the
            data.
        accelerator: "cpu" or "gpu".
        threads: of the CPU.

    Attributes:
        path: of `description.json`.
        description: what `description.json` holds.
        image_shape: `(height, width, channels)`.
        class_names: a name per class.

    Raises:
        InputError: a folder that is no converted network; an unknown accelerator.
    """

    def __init__(self, directory, fields, *, accelerator, threads):
        self._directory = pathlib.Path(directory)
        self.path = self._directory / DESCRIPTION_FILE
        self.description = read_description(directory, fields)
        self.image_shape = tuple(self.description["image_shape"])
        self.class_names = tuple(self.description["class_names"])
        # Folders of before say nothing of their files.
        self._described_files = self.description.get(FILES_FIELD)
        self._compiler = Compiler(accelerator=accelerator, threads=threads)
        self._files = {}
        self._images = None
        # Every tensor that a loaded part takes or writes.
        self._buffers = {}

    def check_parts(self, parts, fields=None):
        """Refuses parts that lack something.

        Args:
            parts: what the description says are parts.
            fields: dictionary from name to type of what each must hold beside the usual.

        Raises:
            InputError: there are none, or one lacks something or names a file that is not one of
                the folder's.
        """
        fields = {**_PART_FIELDS, **(fields or {})}
        for part in parts or [None]:
            # No subclasses: True would be a whole number.
            if not isinstance(part, dict) or not all(
                type(part.get(name)) is kind for name, kind in fields.items()
            ):
                raise InputError(
                    "The description of a converted network must say of each part "
                    f"{', '.join(map(repr, fields))}. Received: {self._directory}, with {part!r}."
                )
            self._check_name(part["file"])

    def _check_name(self, file):
        # Windows' paths are POSIX's and more.
        if pathlib.PureWindowsPath(file).name != file or file in ("", ".."):
            raise InputError(
                "The description of a converted network must name files of its own folder. "
                f"Received: {self._directory}, with {file!r}."
            )
        if self._described_files is None:
            return
        described = self._described_files
        described = described.get(file) if isinstance(described, dict) else None
        fields = {"bytes": int, "sha256": str}
        if not isinstance(described, dict) or not all(
            type(described.get(name)) is kind for name, kind in fields.items()
        ):
            raise InputError(
                f"The description of a converted network must say of each file in {FILES_FIELD!r} "
                f"'bytes' and 'sha256'. Received: {self._directory}, with {described!r} "
                f"for {file!r}."
            )

    def checked_path(self, file):
        """The path of a file of a checked part.

        Raises:
            InputError: it is missing, or not as it was written.
        """
        path = self._directory / file
        if self._described_files is not None:
            check_described_file(path, self._described_files[file])
        return path

    def load(self, part, *, classifies=True):
        """Loads a part.

        Args:
            part: one of those that were checked.
            classifies: whether its logits are of the classes.

        Returns:
            A function without arguments that runs it on what the buffers hold, and gives its
            logits: float32 `(classes,)`, or of what else they are.

        Raises:
            InputError: its file is missing, not as it was written, not one of this network, or
                not one that the accelerator runs.
        """
        file = part["file"]
        if file not in self._files:
            self._files[file] = self._compiler.compiled(self.checked_path(file))
        signature = Signature(self._files[file], part["signature"], self._buffers or None)
        if part["logits"] not in signature.outputs:
            raise InputError(
                "The .tflite files of a folder must be those that its description says. Received: "
                f"{part['signature']!r} without the output {part['logits']!r}."
            )
        answers = shape_of(signature.outputs[part["logits"]])[-1]
        if classifies and answers != len(self.class_names):
            raise InputError(
                f"`class_names` in {self.path} must be {answers} names, one per class. "
                f"Received: {len(self.class_names)}."
            )
        if not self._buffers:
            self._images = _images_buffer(signature, self.image_shape)
            self._buffers |= signature.inputs
        self._buffers |= signature.outputs

        def logits():
            signature.run()
            return signature.read(part["logits"])[0]

        return logits

    def give(self, image):
        """Writes an image, normalised, where the parts read it.

        Args:
            image: uint8 `(height, width, channels)` of `image_shape`.

        Raises:
            InputError: an image of another shape or dtype.
        """
        if (
            not isinstance(image, np.ndarray)
            or image.dtype != np.uint8
            or image.shape != self.image_shape
        ):
            raise InputError(
                f"`image` must be a uint8 array of the shape {self.image_shape}. Received: "
                f"{getattr(image, 'dtype', type(image).__name__)} of the shape {np.shape(image)}."
            )
        mean, std = self.description["mean"], self.description["std"]
        self._images.write(normalized(image, mean, std)[np.newaxis])

    def answer(self, probabilities, *, confidence, start, exit=None, resolution=None):
        """An `Answer`.

        Args:
            probabilities: float32 `(classes,)`.
            confidence, exit, resolution: as of `Answer`.
            start: when the image came, by `time.perf_counter`.
        """
        class_number = int(probabilities.argmax())
        return Answer(
            class_number=class_number,
            class_name=self.class_names[class_number],
            probabilities=probabilities,
            confidence=float(confidence),
            exit=exit,
            resolution=resolution,
            seconds=time.perf_counter() - start,
        )


def _images_buffer(signature, image_shape):
    """What the first part takes."""
    shapes = [shape_of(buffer) for buffer in signature.inputs.values()]
    if shapes != [[1, *image_shape]]:
        raise InputError(
            "The .tflite files of a folder must be those that its description says. "
            f"Received: one that takes the shapes {shapes}, where {image_shape} is said."
        )
    (images,) = signature.inputs.values()
    return images
