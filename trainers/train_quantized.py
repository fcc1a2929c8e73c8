"""Quantization-aware training: fits a finished run's network to 8-bit arithmetic.

    python -m trainers.train_quantized --run_dir runs/digits --output_dir runs/digits_int8
    python -m savedmodels.convert_tflite --run_dir runs/digits_int8 --output tflite/digits \
        --precision int8

The network computes as its int8 TFLite files will: batch norms are folded, ranges measured on
training images, then kernels and feature maps rounded to 8 bits (Jacob et al. 2018), and the
weights trained a little further, by the run's own loss.
"""

import keras
from absl import flags

from tf_adaptive.compression.quantization import with_quantization
from tf_adaptive.data.calibration import read_calibration_images
from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.exits.losses import check_exit_weights
from tf_adaptive.programs import program
from tf_adaptive.runs.checks import load_run_with_exits
from tf_adaptive.training.multi_exit_phases import phase_1_step

from .flags import second_run
from .flags import strategy as strategy_flags

flags.adopt_module_key_flags(second_run)
flags.adopt_module_key_flags(strategy_flags)
_RUN_DIR = flags.DEFINE_string("run_dir", None, "finished run in float32", required=True)
_CALIBRATION_IMAGES = flags.DEFINE_integer(
    "calibration_images", 1000, "training images to measure the ranges on"
)
_EPOCHS = flags.DEFINE_integer("epochs", 2, "passes over the training images")
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", 1e-4, "highest learning rate; it falls to 0 along a cosine"
)


def main():
    check_whole("calibration_images", _CALIBRATION_IMAGES.value, least=1)
    program.fill_unset(batch_size=64)
    second_run.check_flags()
    devices = strategy_flags.chosen()
    if second_run.is_done(devices):
        return
    config, trained = load_run_with_exits(_RUN_DIR.value)
    if config.get("prune_to") is not None:
        raise InputError(
            "`run_dir` must be the run of a network without zeros, which training would not keep. "
            f"Received: {_RUN_DIR.value}, pruned to {config['prune_to']}."
        )
    dataset = second_run.data_of(config)
    descent = second_run.descent(
        dataset,
        schedule="cosine",
        learning_rate=_LEARNING_RATE.value,
        epochs=_EPOCHS.value,
        # Phase II of IMTA has none.
        label_smoothing=config.get("label_smoothing", 0.0),
    )
    # Made and dropped, so that a flag it refuses costs nobody the ranges.
    descent.optimizer()
    keras.utils.set_random_seed(second_run.SEED.value)
    images = read_calibration_images(dataset, _CALIBRATION_IMAGES.value)
    with devices.scope():
        model = with_quantization(trained, images)
        exit_weights = check_exit_weights(config.get("exit_weights"), len(model.outputs))
        step = phase_1_step(model, descent, exit_weights=exit_weights)
    second_run.train_to_end(
        step,
        dataset,
        model,
        devices=devices,
        epochs=_EPOCHS.value,
        config=config,
        dataset=dataset,
    )


if __name__ == "__main__":
    program.run(main, needs=("data", "report", "programs"))
