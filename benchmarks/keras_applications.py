"""What exits on the networks of keras.applications cost, and what it costs to run them by stages.

    python -m benchmarks.keras_applications --names MobileNetV2,ResNet50 --image_size 224

Attaches exits to each network with random weights and prints a row of a Markdown table. The time
ratio is that of the network with all its exits in one call, divided by that of its stages one
after another: above 1 where the stages are faster.
"""

import csv

import numpy as np
import tensorflow as tf
import tqdm
from absl import flags

from tf_adaptive.errors import check_choice, check_whole
from tf_adaptive.exits.attach import attach_exits
from tf_adaptive.exits.costs import profile
from tf_adaptive.exits.places import exit_places
from tf_adaptive.exits.stages import split_stages
from tf_adaptive.exits.timing import milliseconds_of
from tf_adaptive.files import replaced_whole
from tf_adaptive.models.keras_applications import application_names, keras_application
from tf_adaptive.programs import program

NAMES = (
    *("VGG16", "ResNet50", "ResNet50V2", "DenseNet121", "InceptionV3", "InceptionResNetV2"),
    *("Xception", "MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large"),
    *("EfficientNetB0", "EfficientNetV2B0", "NASNetMobile", "ConvNeXtTiny"),
)

_NAMES = flags.DEFINE_list("names", list(NAMES), "networks of keras.applications")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "height and width of the images")
_EXITS = flags.DEFINE_integer("exits", 4, "exits, the network's own included")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "images in a batch")
_REPEATS = flags.DEFINE_integer("repeats", 5, "timed pairs of passes")
_OUTPUT = flags.DEFINE_string("output", None, "CSV file to write the table to")


def main():
    for name in _NAMES.value:
        check_choice("names", name, application_names())
    check_whole("image_size", _IMAGE_SIZE.value, least=32)
    check_whole("exits", _EXITS.value, least=2)
    check_whole("batch_size", _BATCH_SIZE.value, least=1)
    check_whole("repeats", _REPEATS.value, least=1)
    rows = []
    for name in tqdm.tqdm(_NAMES.value, unit=" networks", disable=None):
        rows.append(_row(name))
        with tqdm.tqdm.external_write_mode():
            if len(rows) == 1:
                print("| " + " | ".join(rows[0]) + " |")
                print("|" + " --- |" * len(rows[0]))
            print("| " + " | ".join(map(str, rows[-1].values())) + " |", flush=True)
    if _OUTPUT.value is not None:
        with replaced_whole(_OUTPUT.value) as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _row(name):
    size = _IMAGE_SIZE.value
    backbone = keras_application(name, input_shape=(size, size, 3), num_classes=1000, weights=None)
    places = exit_places(backbone)
    attached = attach_exits(backbone, num_exits=_EXITS.value)
    costs, stages = profile(attached), split_stages(attached)
    own = profile(backbone)[-1].macs
    handed_on = {place.hands_on: place.layer for place in places}
    return {
        "network": name,
        "places": len(places),
        "exits at": ", ".join(handed_on[tuple(stage.state)] for stage in stages[:-1]),
        "% of MACs": " ".join(f"{100 * cost.macs / costs[-1].macs:.0f}" for cost in costs),
        "kB handed on": " ".join(f"{cost.state_bytes / 1000:.0f}" for cost in costs[:-1]),
        "heads, % of MACs": f"{100 * (costs[-1].macs - own) / own:.2f}",
        "time whole ÷ stages": f"{_time_ratio(attached, stages, size):.2f}",
        "M MACs": f"{own / 1e6:.0f}",
    }


def _time_ratio(attached, stages, size):
    """Median ratio of the times of one call and of all stages one after another."""
    whole = tf.function(lambda images: attached(images, training=False))
    run = [tf.function(stage) for stage in stages]

    def in_stages(state):
        answers = []
        for stage in run:
            logits, state = stage(state)
            answers.append(logits)
        return answers

    shape = (_BATCH_SIZE.value, size, size, 3)
    images = tf.constant(np.random.default_rng(0).standard_normal(shape), tf.float32)
    timed = [(function, [images]) for function in (whole, in_stages)]
    one_call, one_by_one = milliseconds_of(timed, calls=_REPEATS.value)
    return np.median(one_call / one_by_one)


if __name__ == "__main__":
    program.run(main)
