"""What early exit saves on a phone: one image at a time, one thread.

    python -m savedmodels.convert_tflite --run_dir runs/demo --output tflite/demo
    python -m benchmarks.deployment --run_dir runs/demo --model_dir tflite/demo

Runs the whole network in LiteRT, the converted stages with early exit in LiteRT, and the network
as a SavedModel in TensorFlow in turn on the same test images, and prints the medians of their
mean times per image. The thresholds are those of the run's cheapest budget that loses no accuracy.
"""

import pathlib
import tempfile

import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.passes import seconds_per_image
from savedmodels.description import read_description
from savedmodels.tflite.compiled import Compiler, Signature
from savedmodels.tflite.exit_runner import StagedRunner
from savedmodels.tflite.files import converted, write_saved_model
from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.compression.quantization import is_quantized
from tf_adaptive.data.calibration import read_calibration_images
from tf_adaptive.errors import check_whole
from tf_adaptive.exits.costs import profile
from tf_adaptive.exits.operating_point import choose_operating_point
from tf_adaptive.images import scale_and_offset
from tf_adaptive.processor import told_processor
from tf_adaptive.programs import program
from tf_adaptive.runs.checks import load_run_with_exits
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.tables import read_exit_report

_RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of a finished run", required=True)
_MODEL_DIR = flags.DEFINE_string(
    "model_dir", None, "folder that savedmodels.convert_tflite wrote of it", required=True
)
_ACCURACY_DROP = flags.DEFINE_float(
    "accuracy_drop", 0.0, "points below the last exit's accuracy that the thresholds may cost"
)
_IMAGES = flags.DEFINE_integer("images", 200, "test images in a pass, spread over the test set")
_REPEATS = flags.DEFINE_integer("repeats", 15, "passes of each")
_CALIBRATION_IMAGES = flags.DEFINE_integer(
    "calibration_images", 100, "training images to measure the ranges of int8 on"
)
# Of the whole network's time, times the part of its MACs: what stages may cost.
_TARGET = 1.2
_WHOLE = "whole"


def main():
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    check_whole("repeats", _REPEATS.value, least=1)
    check_whole("calibration_images", _CALIBRATION_IMAGES.value, least=1)
    config, model = load_run_with_exits(_RUN_DIR.value)
    dataset = load_run_dataset(config)
    check_whole("images", _IMAGES.value, least=1, most=dataset.sizes["test"])
    positions = np.linspace(0, dataset.sizes["test"] - 1, _IMAGES.value).astype(int)
    images = dataset.pictures("test", positions)
    costs = profile(model)
    rows = read_exit_report(_RUN_DIR.value, len(costs))
    point = choose_operating_point(rows, accuracy_drop=_ACCURACY_DROP.value)
    staged = StagedRunner(_MODEL_DIR.value, thresholds=point.thresholds)
    with tempfile.TemporaryDirectory() as directory:
        functions = {
            "whole network, LiteRT": _whole_in_litert(model, dataset, directory),
            "early exit, LiteRT": staged,
            "SavedModel, TensorFlow": _saved_model(dataset, directory),
        }
        seconds = seconds_per_image(functions.values(), images, repeats=_REPEATS.value)
    exits = np.array([staged(image).exit for image in images])
    _print_table(dict(zip(functions, seconds.T, strict=True)), exits, costs)


def _whole_in_litert(model, dataset, directory):
    """The whole network in one TFLite file, of the precision of the stages."""
    model = fold_batch_norm(model, dtype="float32")

    @tf.function(input_signature=[tf.TensorSpec((1, *dataset.image_shape), name="images")])
    def whole(images):
        exits = model(images, training=False)
        return {f"exit_{number}": logits for number, logits in enumerate(exits, start=1)}

    write_saved_model({_WHOLE: whole}, directory)
    precision = read_description(_MODEL_DIR.value, {"precision": str})["precision"]
    samples = None
    if precision == "int8" and not is_quantized(model):
        calibration = read_calibration_images(dataset, _CALIBRATION_IMAGES.value)
        samples = {_WHOLE: [{"images": image[np.newaxis]} for image in calibration]}
    content = converted(directory, [_WHOLE], precision=precision, samples=samples)
    path = pathlib.Path(directory, "whole.tflite")
    path.write_bytes(content)
    signature = Signature(Compiler().compiled(path), _WHOLE)
    normalized = _normalizer(dataset)

    def run(image):
        signature.inputs["images"].write(normalized(image))
        signature.run()
        return [signature.read(name) for name in signature.outputs]

    return run


def _saved_model(dataset, directory):
    """The whole network as a SavedModel that `_whole_in_litert` has written."""
    loaded = tf.saved_model.load(directory)
    normalized = _normalizer(dataset)

    def run(image):
        # By way of `loaded`, which holds the variables.
        exits = loaded.signatures[_WHOLE](images=tf.constant(normalized(image)))
        return [logits.numpy() for logits in exits.values()]

    return run


def _normalizer(dataset):
    """From an image of `pictures` to a batch of it, normalised."""
    scale, offset = scale_and_offset(dataset.mean, dataset.std)
    return lambda image: image[np.newaxis].astype(np.float32) * scale + offset


def _print_table(seconds, exits, costs):
    """Prints times, then the time ratio of early exit beside the ratio of its MACs."""
    whole, early, _ = seconds.values()
    shares = np.bincount(exits - 1, minlength=len(costs)) / len(exits)
    print(told_processor())
    print(f"{'':<24} {'ms/image':>9} {'ratio':>7}")
    for name, of_one in seconds.items():
        print(f"{name:<24} {1000 * np.median(of_one):>9.3f} {np.median(of_one / whole):>7.3f}")
    macs_ratio, lazy_ratio = (
        float(shares @ np.array(macs)) / macs[-1]
        for macs in ([cost.macs for cost in costs], [cost.lazy_macs for cost in costs])
    )
    time_ratio = np.median(early / whole)
    print(
        f"\nLeft at each exit: {' '.join(f'{share:.2f}' for share in shares)}. "
        f"MACs ratio {macs_ratio:.3f} (lazy {lazy_ratio:.3f}), time ratio {time_ratio:.3f}: "
        f"{time_ratio / macs_ratio:.2f} times the MACs ratio, "
        f"{'within' if time_ratio <= _TARGET * macs_ratio else 'above'} the {_TARGET:g} aimed at."
    )


if __name__ == "__main__":
    program.run(main)
