"""The same network and its stages in OpenVINO and in ONNX Runtime, beside this package's paths.

    python -m benchmarks.peers --run_dir runs/fashion_mnist

Each runtime runs the whole network, batch norms folded, on the same test images in turn, after its
answers were compared with Keras's; then early exit with half of the images that reach an exit
leaving there: in one TensorFlow graph, and stage by stage in OpenVINO. Prints median milliseconds
an image and ratios to TensorFlow's time of the whole network, beside what the processor can do.
Needs `pip install '.[benchmark]'`.
"""

import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.half_leave import half_leave
from benchmarks.whole_batches import whole_batches
from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.exits.early_exit import EarlyExit
from tf_adaptive.exits.stages import split_stages
from tf_adaptive.exits.thresholds import confidence_scores
from tf_adaptive.exits.timing import milliseconds_of
from tf_adaptive.extras import check_extra
from tf_adaptive.graph.constant_weights import ConstantWeights
from tf_adaptive.processor import told_processor
from tf_adaptive.programs import program
from tf_adaptive.reports.logits import collect_logits
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import load_finished_run

_RUN_DIR = flags.DEFINE_string("run_dir", None, "finished run with several exits", required=True)
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1", "64", "256"], "images in a batch")
_PRECISION = flags.DEFINE_string("precision", "float32", "float32 or bfloat16, where one has it")
_REPEATS = flags.DEFINE_integer("repeats", 15, "timed calls of each")

_IMAGES = 1024
# Of logits, by the largest of them.
_MOST_APART = {"float32": 1e-3, "bfloat16": 0.1}
_LEAST_AGREEMENT = 0.99


def main():
    check_whole("repeats", _REPEATS.value, least=1)
    check_choice("precision", _PRECISION.value, _MOST_APART)
    check_extra("benchmark")
    check_extra("tflite")
    batch_sizes = program.numbers(_BATCH_SIZES, int)
    config, trained = load_finished_run(_RUN_DIR.value)
    if len(trained.outputs) < 2:
        raise InputError(f"`run_dir` must have several exits. Received: {_RUN_DIR.value}.")
    dataset = load_run_dataset(config)
    model = fold_batch_norm(trained)
    ours = fold_batch_norm(trained, dtype=_PRECISION.value)
    print(f"{told_processor()}; {_PRECISION.value}")
    print(f"{'batch':>5} {'':<30} {'ms an image':>11} {'ratio':>7}")
    with tempfile.TemporaryDirectory() as folder:
        openvino = _OpenVINO(pathlib.Path(folder), _PRECISION.value)
        stages = [openvino.compiled(_run_of_stage(stage)) for stage in split_stages(model)]
        for batch_size in batch_sizes:
            batches = [images for images, _ in whole_batches(dataset, batch_size, images=_IMAGES)]
            whole = {"TensorFlow": _run_of_network(ConstantWeights(ours), ours.input_shape)}
            run = _run_of_network(model, model.input_shape)
            whole |= _in_other_runtimes(run, openvino, batches[0].shape)
            for name, run in whole.items():
                _compare(name, run, trained, batches[0])
            logits, _ = collect_logits(model, dataset.batches("calibration", 256))
            point = half_leave(logits, "max_probability")
            early = {
                "early exit, TensorFlow": EarlyExit(ours, point, constant_weights=True),
                "early exit, OpenVINO": _staged(stages, point.thresholds),
            }
            _compare_classes(*early.values(), batches)
            _print_times(batch_size, whole | early, batches)


def _in_other_runtimes(run, openvino, shape):
    """Functions of a batch of that shape that give the logits of all exits, by what runs them."""
    runs = {"OpenVINO": openvino.compiled(run)}
    if _PRECISION.value == "float32":
        runs |= {
            "ONNX Runtime": _in_onnx_runtime(run),
            "LiteRT, 2 threads": _in_litert(run, shape),
        }
    return runs


def _run_of_network(network, input_shape):
    signature = [tf.TensorSpec((None, *input_shape[1:]), name="images")]
    return tf.function(
        lambda images: [tf.cast(exit, "float32") for exit in network(images, training=False)],
        input_signature=signature,
    )


def _run_of_stage(stage):
    """Of the list of what it reads, the list of its logits and what it writes."""
    signature = [
        tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype, name=f"tensor_{place}")
        for place, tensor in enumerate(stage.model.inputs)
    ]
    run = tf.function(
        lambda *tensors: keras.tree.flatten(stage.model(list(tensors))), input_signature=signature
    )
    run.stage = stage
    return run


class _OpenVINO:
    """Compiles TensorFlow functions."""

    def __init__(self, folder, precision):
        self._folder, self._precision, self._count = folder, precision, 0

    def compiled(self, function):
        """A function of the same arguments that gives a list of arrays."""
        import openvino

        self._count += 1
        path = self._folder / f"{self._count}"
        signature = _named(function)
        module = tf.Module()
        module.weights = list(signature.graph.variables)
        tf.saved_model.save(module, str(path), signatures=signature)
        network = openvino.compile_model(
            openvino.convert_model(path),
            "CPU",
            {"INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[self._precision]},
        )
        names = [spec.name for spec in function.input_signature]

        def run(*tensors):
            given = dict(zip(names, map(np.asarray, tensors), strict=True))
            answer = network(given)
            return [answer[f"output_{place}"] for place in range(len(network.outputs))]

        run.stage = getattr(function, "stage", None)
        return run


def _named(function):
    """The function with outputs that keep their order by their names."""
    names = [spec.name for spec in function.input_signature]

    def run(**tensors):
        answers = function(*(tensors[name] for name in names))
        return {f"output_{place}": answer for place, answer in enumerate(answers)}

    specs = {spec.name: spec for spec in function.input_signature}
    return tf.function(run).get_concrete_function(**specs)


def _in_onnx_runtime(function):
    import onnxruntime
    import tf2onnx

    network, _ = tf2onnx.convert.from_function(
        function, input_signature=function.input_signature, opset=17
    )
    session = onnxruntime.InferenceSession(
        network.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (name,) = (given.name for given in session.get_inputs())
    return lambda images: session.run(None, {name: np.asarray(images)})


def _in_litert(function, shape):
    from ai_edge_litert.interpreter import Interpreter

    fixed = tf.function(function).get_concrete_function(tf.TensorSpec(shape, name="images"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([fixed], function)
    interpreter = Interpreter(model_content=converter.convert(), num_threads=2)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    outputs = interpreter.get_output_details()

    def run(images):
        interpreter.set_tensor(given["index"], np.asarray(images))
        interpreter.invoke()
        return [interpreter.get_tensor(output["index"]) for output in outputs]

    return run


def _staged(stages, thresholds):
    """Early exit by stages that are compiled apart: a function of a batch, its classes."""

    def run(images):
        state = {stages[0].stage.takes[0]: np.asarray(images)}
        rows = np.arange(len(images))
        classes = np.zeros(len(images), int)
        for place, run_stage in enumerate(stages):
            stage = run_stage.stage
            logits, *written = run_stage(*(state[name] for name in stage.reads))
            state |= dict(zip(stage.writes, written, strict=True))
            stay = np.zeros(len(rows), bool)
            if place < len(thresholds):
                sure = confidence_scores(logits.astype("float32"), "max_probability")
                stay = np.asarray(sure) < thresholds[place]
            classes[rows[~stay]] = logits[~stay].argmax(axis=-1)
            rows = rows[stay]
            if not len(rows):
                break
            state = {name: state[name][stay] for name in stage.state}
        return [classes]

    return run


def _compare(name, run, model, images):
    """Refuses a runtime that answers otherwise than Keras in float32."""
    expected = [np.asarray(exit) for exit in model(images, training=False)]
    received = [np.asarray(exit, "float32") for exit in run(images)]
    # Some runtimes order the exits as they like.
    apart = max(
        min(np.abs(ours - theirs).max() for ours in received) / np.abs(theirs).max()
        for theirs in expected
    )
    if apart > _MOST_APART[_PRECISION.value]:
        raise InputError(
            f"{name} must answer as Keras does to {_MOST_APART[_PRECISION.value]} of the largest "
            f"logit. Received: {apart:.2g}."
        )


def _compare_classes(ours, theirs, batches):
    """Refuses early exit by stages that answers otherwise than ours for one image in a hundred."""
    same = np.concatenate(
        [np.asarray(ours(images)["class"]) == theirs(images)[0] for images in batches]
    )
    if same.mean() < _LEAST_AGREEMENT:
        raise InputError(
            f"Early exit in OpenVINO must answer as EarlyExit for {_LEAST_AGREEMENT:.0%} of the "
            f"images. Received: {same.mean():.1%}."
        )


def _print_times(batch_size, runs, batches):
    times = np.median(
        milliseconds_of([(run, batches) for run in runs.values()], calls=_REPEATS.value), axis=1
    )
    for name, milliseconds in zip(runs, times, strict=True):
        ratio = milliseconds / times[0]
        print(f"{batch_size:>5} {name:<30} {milliseconds / batch_size:>11.3f} {ratio:>7.3f}")


if __name__ == "__main__":
    program.run(main, needs=("data",))
