"""An exported or converted network as a function from a picture's file to an answer."""

import hashlib
import os
import pathlib

import tensorflow as tf

from tf_adaptive.data.decoding import PICTURE_KINDS
from tf_adaptive.data.preprocessing import Preprocessing
from tf_adaptive.errors import InputError, plain_reason
from tf_adaptive.exits.operating_point import check_no_operating_point
from tf_adaptive.exits.thresholds import check_thresholds
from tf_adaptive.programs.quiet import without_notices

from .description import DESCRIPTION_FILE, read_description
from .serving.model_folder import EXTRA_ASSETS, versions
from .tflite.exit_runner import StagedRunner
from .tflite.load_runner import load_runner

_SAVED_MODEL = "saved_model.pb"


def load_classifier(model_dir, *, thresholds=None):
    """Loads a network, and has it see a blank image: the first one takes longer.

    Args:
        model_dir: folder that `savedmodels.convert_tflite` wrote; or, of what
            `savedmodels.export` wrote, that of a version, of a model, whose newest version is
            taken, or of an only model.
        thresholds: for a network with K exits, K − 1 numbers in [0, 1] in place of its own.

    Returns:
        A `SavedModelClassifier` or a `TFLiteClassifier`: called with the bytes of a
        picture's file it gives a dictionary of "class" (from 0), "label", "confidence", and "exit"
        (from 1) or "resolution" (in pixels); and raises InputError for other bytes, a damaged file,
        or a picture that is too large. `many` does so for a list of them, which is refused whole
        where one of them is. `class_names` has the labels, `kind` is "exit" or "resolution",
        `exit_macs` are the multiply-accumulates up to each exit where they are known, else None,
        `threads` is how many threads may use it at once, None for any number, `directory` is the
        folder of the network itself, of no later version, and `mark` tells it from others.

    Raises:
        InputError: a folder that is neither, or damaged; thresholds of the wrong number, outside
            [0, 1], or for a DRNet.
    """
    directory = pathlib.Path(model_dir)
    if os.path.isfile(directory / DESCRIPTION_FILE):
        return TFLiteClassifier(directory, thresholds=thresholds)
    return SavedModelClassifier(_version(directory), thresholds=thresholds)


class SavedModelClassifier:
    """Asks the signature "serving_bytes" of a SavedModel.

    Args:
        version: folder that `savedmodels.export` wrote, OUTPUT/NAME/VERSION.
        thresholds: see `load_classifier`.

    Attributes:
        class_names, kind, exit_macs, threads, directory, mark: see `load_classifier`.
    """

    threads = None

    def __init__(self, version, *, thresholds=None):
        self.directory, self.mark = version.resolve(), _mark(version / EXTRA_ASSETS)
        description = read_description(version / EXTRA_ASSETS, {})
        self.class_names = tuple(description["class_names"])
        self.exit_macs = description.get("exit_macs")
        self.kind = "exit" if "thresholds" in description else "resolution"
        signature, self._given = "serving_bytes", {}
        if thresholds is not None:
            if "thresholds" not in description:
                check_no_operating_point(thresholds=thresholds)
            checked = check_thresholds(thresholds, len(description["thresholds"]) + 1)
            if len(checked):
                signature += "_thresholds"
                self._given = {"thresholds": tf.constant([checked])}
        try:
            with without_notices():
                self._function = tf.saved_model.load(str(version)).signatures[signature]
        # What is damaged raises whatever it leads the loader to.
        except Exception as error:
            raise InputError(
                "`model_dir` must be a SavedModel as savedmodels.export wrote it. "
                f"Received: {version}, which cannot be loaded; export it again."
            ) from error
        self(_blank_file(description["image_shape"]))

    def __call__(self, encoded):
        return self.many([encoded])[0]

    def many(self, encoded):
        given = {
            name: tf.repeat(value, len(encoded), axis=0) for name, value in self._given.items()
        }
        answer = _run(self._function, encoded=tf.constant(encoded), **given)
        columns = [answer[name].numpy() for name in ("class", "label", "confidence", self.kind)]
        return [
            {
                **{"class": int(number), "label": label.decode(), "confidence": float(confidence)},
                self.kind: int(at),
            }
            for number, label, confidence, at in zip(*columns, strict=True)
        ]


class TFLiteClassifier:
    """Decodes and resizes with TensorFlow, and runs the network with LiteRT.

    Args:
        directory: folder that `savedmodels.convert_tflite` wrote.
        thresholds: see `load_classifier`.

    Attributes:
        class_names, kind, exit_macs, threads, directory, mark: see `load_classifier`.
    """

    # What a runner's stages hand on stays in its buffers.
    threads = 1

    def __init__(self, directory, *, thresholds=None):
        self.directory, self.mark = directory.resolve(), _mark(directory)
        description = read_description(directory, {})
        self.class_names = tuple(description["class_names"])
        self.exit_macs = description.get("exit_macs")
        self._decode = tf.function(
            Preprocessing.of(description).decoded,
            input_signature=[tf.TensorSpec((None,), tf.string)],
            autograph=False,
        )
        self._runner = load_runner(directory, thresholds=thresholds)
        # Every file is loaded now: none that is missing is taken for a picture's fault.
        blank = self._image(_blank_file(description["image_shape"]))
        if isinstance(self._runner, StagedRunner):
            self.kind = "exit"
            self._runner.all_exits(blank)
        else:
            self.kind = "resolution"
            self._runner.all_resolutions(blank)

    def __call__(self, encoded):
        answer = self._runner(self._image(encoded))
        return {
            "class": answer.class_number,
            "label": answer.class_name,
            "confidence": float(answer.confidence),
            self.kind: getattr(answer, self.kind),
        }

    def many(self, encoded):
        return [self(one) for one in encoded]

    def _image(self, encoded):
        return _run(self._decode, tf.constant([encoded]))[0].numpy()


def _version(directory):
    """The folder of a version: the given one, a model's newest, or that of an only model."""
    if os.path.isfile(directory / _SAVED_MODEL):
        return directory
    if versions(directory):
        return directory / str(max(versions(directory)))
    children = directory.iterdir() if directory.is_dir() else []
    models = [child for child in children if versions(child)]
    if not models:
        raise InputError(
            "`model_dir` must be a folder that savedmodels.export or savedmodels.convert_tflite "
            f"wrote. Received: {directory}."
        )
    if len(models) > 1:
        raise InputError(
            "`model_dir` must name one model. "
            f"Received: {directory}, which has {', '.join(sorted(model.name for model in models))}."
        )
    return models[0] / str(max(versions(models[0])))


def _mark(directory):
    """What tells a network from another one in the same place; empty where there is none."""
    path = directory / DESCRIPTION_FILE
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _blank_file(image_shape):
    return tf.io.encode_png(tf.zeros(image_shape, tf.uint8)).numpy()


def _run(function, *arguments, **named):
    """What a function of a graph gives; InputError where it refuses what it is given."""
    try:
        # Decoders write their own notes of damaged files.
        with without_notices():
            return function(*arguments, **named)
    except tf.errors.InvalidArgumentError as error:
        reason = plain_reason(error.message)
        if "Received" not in reason:
            reason = f"Every image must be a whole {PICTURE_KINDS} file. Received: {reason}"
        raise InputError(f"{reason.rstrip('.')}.") from error
