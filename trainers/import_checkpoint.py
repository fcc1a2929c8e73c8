"""Turns a published PyTorch checkpoint into a finished run that evaluation and export take.

    python -m trainers.import_checkpoint --model msdnet --preset msdnet_cifar_lingrow7 \
        --dataset cifar100 --checkpoint model_best.pth.tar --run_dir runs/published

The file is read without PyTorch, and no code in it is run.
"""

from absl import flags

from tf_adaptive.errors import check_choice
from tf_adaptive.models.from_preset import build_network
from tf_adaptive.models.pytorch_file import read_pytorch_file
from tf_adaptive.models.pytorch_weights import load_pytorch_weights, published_num_classes
from tf_adaptive.pictures import AS_SEEN, PICTURE_READINGS
from tf_adaptive.programs import program
from tf_adaptive.runs.directory import finish_run, start_run

from .flags import network as network_flags

flags.adopt_module_key_flags(network_flags)
flags.mark_flag_as_required(network_flags.PRESET.name)
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "the .pth.tar file", required=True)
_DATASET = flags.DEFINE_string("dataset", None, "what it was trained on", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", None, "pixels a side; the preset's if unset")
_EVALUATION_SPLIT = flags.DEFINE_string(
    "evaluation_split", None, "split of a TFDS set to test on; one with labels if unset"
)
_PICTURE_READING = flags.DEFINE_string(
    "picture_reading", AS_SEEN, "as_seen or as_stored, as programs for training have it"
)
_RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of the new run", required=True)

# Evaluation splits the data as training does, whose settings these are.
_SIZES = {"train_size": None, "validation_size": None, "calibration_size": 0}


def main():
    check_choice("picture_reading", _PICTURE_READING.value, PICTURE_READINGS)
    state_dict = read_pytorch_file(_CHECKPOINT.value)
    size = _IMAGE_SIZE.value
    model = build_network(
        network_flags.MODEL.value,
        network_flags.PRESET.value,
        input_shape=None if size is None else (size, size, 3),
        num_classes=published_num_classes(state_dict),
    )
    load_pytorch_weights(model, state_dict)
    start_run(_RUN_DIR.value, program.flag_values() | _SIZES)
    finish_run(_RUN_DIR.value, model)


if __name__ == "__main__":
    program.run(main, needs=("data",))
