"""A network with exits as models of NVIDIA Triton: one per stage, and one that runs them and stops.

In the model repository are NAME/config.pbtxt, NAME/VERSION/ with `model.py`, `description.json` and
`model_card.md`, and for each stage NAME_VERSION_stage_K/config.pbtxt and NAME_VERSION_stage_K/1/
with `model.savedmodel` and a `model.py` that runs it. The models of the stages have the version in
their names, so that one version never runs another's stages while a server changes over.
"""

import contextlib
import json
import os
import pathlib
import shutil

import keras
import tensorflow as tf

from tf_adaptive.errors import InputError
from tf_adaptive.exits.thresholds import confidence_scores
from tf_adaptive.files import UNFINISHED, replaced_whole

from ..description import write_description
from .archive import write_saved_model
from .model_folder import check_name, folder_to_write_in, free_version

_CONFIG = "config.pbtxt"
_BY = "by python -m savedmodels.export --server triton.\n"
_OURS = f"# Written {_BY}"
_HERE = pathlib.Path(__file__).parent
# As those of TF Serving.
_MOST_IMAGES = 64
_QUEUE_MICROSECONDS = 2000
_TYPES = {
    "bool": "TYPE_BOOL",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "string": "TYPE_STRING",
    "uint8": "TYPE_UINT8",
}
_BACKEND = """\
# TensorFlow in Python, which the server's image must have. A server of a release up to 25.02 has
# TensorFlow itself: in place of this line, platform: "tensorflow_savedmodel".
backend: "python"
"""


def write_models(executor, preprocessing, describe, card, output, *, name, version=None):
    """Writes the models of a network into a model repository, all of them or none.

    Args:
        executor: `EarlyExit` of a model with one image input.
        preprocessing: `Preprocessing`.
        describe: function of a version that gives what `description.json` is to hold, with the
            operating point's "thresholds" and the data's settings.
        card: function of a version, and of the signatures of the stages by the names of their
            models, that gives the text of the model card.
        output: a new or empty folder, or a model repository.
        name, version: see `savedmodels.serving.model_folder.new_version`.

    Returns:
        `(name, version)`.

    Raises:
        InputError: a folder with something else in it, an impossible name, a version that is there
            already, a state that Triton has no type for, or a place where nothing can be written.
    """
    output = pathlib.Path(output)
    check_name(name)
    _check_repository(output)
    model = output / name
    _check_ours(model)
    version = free_version(model, version)
    parts = [_Stage(stage, executor, preprocessing, name, version) for stage in executor.stages]
    for part in parts:
        if (output / part.model).exists():
            raise InputError(
                "`output` must have no models of the names of the stages. "
                f"Received: {output / part.model}, which is there; name another version."
            )
    described = {
        **describe(version),
        "tensorflow": tf.__version__,
        "stages": [part.description() for part in parts],
    }
    with folder_to_write_in(output) as unfinished:
        signatures = {part.model: part.write(unfinished / part.model) for part in parts}
        folder = unfinished / name / str(version)
        folder.mkdir(parents=True)
        shutil.copyfile(_HERE / "triton_model.py", folder / "model.py")
        write_description(folder, described)
        (folder / "model_card.md").write_text(card(version, signatures), encoding="utf-8")
        config = _model_config(name, described, preprocessing.image_shape[-1])
        with contextlib.ExitStack() as undo:
            # The model last: until it is there, nobody asks for its stages.
            for part in parts:
                _move(unfinished / part.model, output / part.model, undo)
            if model.exists():
                _move(folder, model / str(version), undo)
                with replaced_whole(model / _CONFIG) as temporary:
                    temporary.write_text(config, encoding="utf-8")
            else:
                (unfinished / name / _CONFIG).write_text(config, encoding="utf-8")
                _move(unfinished / name, model, undo)
            undo.pop_all()
    return name, version


class _Stage:
    """A stage as a model of its own.

    It takes only what it computes with, and gives only what it computes: what is passed on does not
    go through it.
    """

    def __init__(self, stage, executor, preprocessing, name, version):
        self._stage, self._preprocessing = stage, preprocessing
        self.model = f"{name}_{version}_stage_{stage.number}"
        self._exit = executor.enabled_exits[stage.number - 1]
        self._scale, self._measure = executor.point.scales[self._exit - 1], executor.measure
        known = {
            name: tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype, name)
            for name, tensor in zip(stage.reads, stage.model.inputs, strict=True)
        }
        if stage.number == 1:
            channels = preprocessing.image_shape[-1]
            known = {"images": tf.TensorSpec((None, None, None, channels), tf.uint8, "images")}
        self._takes = known
        # The images that stage 1 has made ready are read by later stages of some networks.
        written = stage.state if stage.number == 1 else stage.writes
        self._written = {
            name: tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype, name)
            for name, tensor in stage.state.items()
            if name in written
        }
        self._probabilities = _free_name("probabilities", self._written)
        self._confidence = _free_name("confidence", self._written)
        for spec in (*self._takes.values(), *self._written.values()):
            if spec.dtype.name not in _TYPES:
                raise InputError(
                    "The state of a stage must be of a dtype that Triton's Python models have: "
                    f"export in float32. Received: {spec.name!r} of {spec.dtype.name}."
                )

    def description(self):
        return {
            "model": self.model,
            "exit": self._exit,
            "takes": list(self._takes),
            "gives": [self._probabilities, self._confidence, *self._written],
            "probabilities": self._probabilities,
            "confidence": self._confidence,
            "state": list(self._stage.state),
        }

    def write(self, folder):
        """Writes the model, and gives the signature of what was written."""
        inside = folder / "1"
        inside.mkdir(parents=True)
        saved = inside / "model.savedmodel"
        write_saved_model(saved, {"serving_default": (self._run, [self._argument()])})
        shutil.copyfile(_HERE / "triton_stage.py", inside / "model.py")
        signature = tf.saved_model.load(str(saved)).signatures["serving_default"]
        outputs = signature.structured_outputs
        lines = [
            *(_tensor("input", spec.name, spec.dtype, spec.shape) for spec in self._takes.values()),
            *(
                _tensor("output", name, outputs[name].dtype, outputs[name].shape)
                for name in self.description()["gives"]
            ),
        ]
        head = f"# A stage, written {_BY}name: {_text(self.model)}\n{_BACKEND}"
        lines.insert(0, f"max_batch_size: {_MOST_IMAGES}\n")
        text = "".join([head, *lines, "dynamic_batching { }\n"])
        (folder / _CONFIG).write_text(text, encoding="utf-8")
        return signature

    def _argument(self):
        return self._takes["images"] if self._stage.number == 1 else self._takes

    def _run(self, given):
        stage = self._stage
        if stage.number == 1:
            logits, state = stage({stage.takes[0]: self._preprocessing.images(given)})
        else:
            # What it only passes on is not here, so it is asked for what it computes alone.
            given = [given[name] for name in stage.reads]
            logits, *written = keras.tree.flatten(stage.model(given, training=False))
            state = dict(zip(stage.writes, written, strict=True))
        # Scaled and compared as `EarlyExit` does.
        logits = tf.cast(logits, "float32") * self._scale
        return {
            self._probabilities: tf.nn.softmax(logits),
            self._confidence: confidence_scores(logits, self._measure)[:, tf.newaxis],
            **{name: state[name] for name in self._written},
        }


def _model_config(name, described, channels):
    """The configuration of the model that runs the stages."""
    exits = len(described["thresholds"])
    lines = [
        f"{_OURS}name: {_text(name)}\n",
        'backend: "python"\n',
        f"max_batch_size: {_MOST_IMAGES}\n",
        _tensor("input", "images", tf.uint8, (None, None, None, channels)),
    ]
    if exits:
        lines.append(_tensor("input", "thresholds", tf.float32, (None, exits), optional=True))
    lines += [
        _tensor("output", "class", tf.int32, (None, 1)),
        _tensor("output", "label", tf.string, (None, 1)),
        _tensor("output", "probabilities", tf.float32, (None, len(described["class_names"]))),
        _tensor("output", "confidence", tf.float32, (None, 1)),
        _tensor("output", "exit", tf.int32, (None, 1)),
        f"dynamic_batching {{ max_queue_delay_microseconds: {_QUEUE_MICROSECONDS} }}\n",
        "# While one waits for a stage, the other can use another.\n",
        "instance_group [ { count: 2 kind: KIND_CPU } ]\n",
    ]
    return "".join(lines)


def _tensor(kind, name, dtype, shape, *, optional=False):
    """A line of a configuration; the batch, a shape's first axis, is not in it."""
    sizes = ", ".join("-1" if size is None else str(size) for size in shape[1:])
    more = " optional: true" if optional else ""
    kind_of = _TYPES[dtype.name]
    return f"{kind} [ {{ name: {_text(name)} data_type: {kind_of} dims: [ {sizes} ]{more} }} ]\n"


def _text(value):
    return json.dumps(value)


def _free_name(name, taken):
    while name in taken:
        name += "_"
    return name


def _move(source, target, undo):
    """Moves a folder to where nothing is, and back out if what follows fails."""
    os.rename(source, target)
    undo.callback(shutil.rmtree, target)


def _check_repository(output):
    """Refuses a folder that is neither new, nor empty, nor a model repository."""
    if not output.exists():
        return
    held = list(output.iterdir()) if output.is_dir() else [output]
    held = [path for path in held if not path.name.startswith(UNFINISHED)]
    if held and not any((path / _CONFIG).is_file() for path in held):
        raise InputError(
            "`output` must be a new folder, or a model repository of Triton. "
            f"Received: {output}, which holds something else; name another one."
        )


def _check_ours(model):
    """Refuses to add a version to a model that somebody else has put there."""
    config = model / _CONFIG
    if model.exists() and not (
        config.is_file() and config.read_text(encoding="utf-8", errors="replace").startswith(_OURS)
    ):
        raise InputError(
            f"`name` must be new, or that of a model that was exported. Received: {model}, which "
            "holds something else; name another one."
        )
