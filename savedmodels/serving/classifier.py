"""A SavedModel as a function from a picture's file to an answer."""

import os

import tensorflow as tf

from tf_adaptive.errors import InputError
from tf_adaptive.exits.operating_point import check_no_operating_point
from tf_adaptive.exits.thresholds import check_thresholds
from tf_adaptive.programs.quiet import without_notices

from ..description import FILES_FIELD, check_described_file, mark_of, read_description
from ..graph_calls import call_on_files
from .model_folder import EXTRA_ASSETS, SAVED_MODEL, versions


class SavedModelClassifier:
    """Asks the signature "serving_bytes" of a SavedModel.

    Args:
        version: folder that `savedmodels.export` wrote, OUTPUT/NAME/VERSION.
        thresholds: see `savedmodels.classifiers.load_classifier`.

    Attributes:
        class_names, kind, exit_macs, threads, pictures_at_once, directory, mark: see
            `load_classifier`.
    """

    threads, pictures_at_once = None, 1

    def __init__(self, version, *, thresholds=None):
        self.directory, self.mark = version.resolve(), mark_of(version / EXTRA_ASSETS)
        description = read_description(version / EXTRA_ASSETS, {})
        self.class_names = tuple(description["class_names"])
        self.exit_macs = description.get("exit_macs")
        self.kind = "exit" if "thresholds" in description else "resolution"
        # Of former versions, weights are variables, which TensorFlow checks.
        if FILES_FIELD in description:
            check_described_file(version / SAVED_MODEL, description[FILES_FIELD][SAVED_MODEL])
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
        self(tf.io.encode_png(tf.zeros(description["image_shape"], tf.uint8)).numpy())

    def __call__(self, encoded):
        return self.many([encoded])[0]

    def many(self, encoded):
        given = {
            name: tf.repeat(value, len(encoded), axis=0) for name, value in self._given.items()
        }
        answer = call_on_files(self._function, encoded=tf.constant(encoded), **given)
        columns = [answer[name].numpy() for name in ("class", "label", "confidence", self.kind)]
        return [
            {
                **{"class": int(number), "label": label.decode(), "confidence": float(confidence)},
                self.kind: int(at),
            }
            for number, label, confidence, at in zip(*columns, strict=True)
        ]


def newest_version(directory):
    """The folder of a version: the given one, a model's newest, or that of an only model.

    Args:
        directory: `pathlib.Path`.

    Raises:
        InputError: it is none of them, or that of several models.
    """
    if os.path.isfile(directory / SAVED_MODEL):
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
