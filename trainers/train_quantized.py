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

from tf_adaptive.data.calibration import read_calibration_images
from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.losses import check_exit_weights, multi_exit_cross_entropy
from tf_adaptive.models.drnet import DRNet
from tf_adaptive.quantization import with_quantization
from tf_adaptive.training.gradient_step import sgd
from tf_adaptive.training.loop import train
from tf_adaptive.training.progress import TerminalProgress
from tf_adaptive.training.run_directory import finish_run, load_finished_run
from tf_adaptive.training.schedules import learning_rate_schedule
from tf_adaptive.training.step import TrainStep
from trainers import program
from trainers.reporting import load_run_dataset, report_run, settings_of_data

_RUN_DIR = flags.DEFINE_string("run_dir", None, "finished run in float32", required=True)
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "directory of the new run", required=True)
_RESUME = flags.DEFINE_bool("resume", False, "continue the run in --output_dir")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets; the run's if unset")
_CALIBRATION_IMAGES = flags.DEFINE_integer(
    "calibration_images", 1000, "training images to measure the ranges on"
)
_EPOCHS = flags.DEFINE_integer("epochs", 2, "passes over the training images")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "images in a batch")
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", 1e-4, "highest learning rate; it falls to 0 along a cosine"
)
_MOMENTUM = flags.DEFINE_float("momentum", 0.9, "momentum of SGD")
_NESTEROV = flags.DEFINE_bool("nesterov", True, "Nesterov's form of momentum")
_WEIGHT_DECAY = flags.DEFINE_float("weight_decay", 1e-4, "L2 on all weights")
_SEED = flags.DEFINE_integer("seed", 0, "seed of order and augmentation")
_CHECKPOINT_SECONDS = flags.DEFINE_float(
    "checkpoint_seconds", 300.0, "time between checkpoints within an epoch"
)

# What may change when a run continues: where things are, and how often they are written.
_MAY_DIFFER = ("run_dir", "output_dir", "data_dir", "resume", "checkpoint_seconds")


def main():
    check_whole("calibration_images", _CALIBRATION_IMAGES.value, least=1)
    check_whole("batch_size", _BATCH_SIZE.value, least=1)
    check_whole("seed", _SEED.value, least=0, most=2**32 - 1)
    config, trained = load_finished_run(_RUN_DIR.value)
    if isinstance(trained, DRNet):
        raise InputError(
            "`run_dir` must be the run of a network with exits. "
            f"Received: {_RUN_DIR.value}, which is that of a DRNet"
        )
    if config.get("prune_to") is not None:
        raise InputError(
            "`run_dir` must be the run of a network without zeros, which training would not keep. "
            f"Received: {_RUN_DIR.value}, pruned to {config['prune_to']}"
        )
    program.fill_unset(data_dir=config.get("data_dir"))
    dataset = load_run_dataset(config, data_dir=_DATA_DIR.value)
    schedule = learning_rate_schedule(
        "cosine",
        learning_rate=_LEARNING_RATE.value,
        epochs=_EPOCHS.value,
        steps_per_epoch=-(-dataset.sizes["train"] // _BATCH_SIZE.value),
    )
    optimizer = sgd(schedule, momentum=_MOMENTUM.value, nesterov=_NESTEROV.value)
    keras.utils.set_random_seed(_SEED.value)
    model = with_quantization(trained, read_calibration_images(dataset, _CALIBRATION_IMAGES.value))
    # Phase II of IMTA has neither.
    exit_weights = check_exit_weights(config.get("exit_weights"), len(model.outputs))
    label_smoothing = config.get("label_smoothing", 0.0)

    def loss(labels, logits):
        return multi_exit_cross_entropy(
            labels, logits, exit_weights=exit_weights, label_smoothing=label_smoothing
        )[0]

    train(
        TrainStep(model, optimizer, loss, weight_decay=_WEIGHT_DECAY.value),
        dataset,
        epochs=_EPOCHS.value,
        batch_size=_BATCH_SIZE.value,
        seed=_SEED.value,
        run_dir=_OUTPUT_DIR.value,
        config=settings_of_data(config) | program.flag_values() | dataset.description(),
        resume=_RESUME.value,
        may_differ=_MAY_DIFFER,
        checkpoint_seconds=_CHECKPOINT_SECONDS.value,
        progress=TerminalProgress(),
    )
    finish_run(_OUTPUT_DIR.value, model)
    report_run(_OUTPUT_DIR.value)


if __name__ == "__main__":
    program.run(main)
