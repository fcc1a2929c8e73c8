"""Easy and hard images of each class (RANet, Yang et al. 2020, Figure 7).

    python -m experiments.ranet_figure_7 --run_dir runs/cifar100_ranet --figure easy_and_hard.png

Of some classes, images that early exit gets right at the first exit, and images that it gets right
at the last one; any network with several exits will do.
"""

import pathlib

import numpy as np
from absl import flags
from matplotlib.figure import Figure

from tf_adaptive.errors import check_whole
from tf_adaptive.exits.evaluation import exits_along
from tf_adaptive.files import replaced_whole
from tf_adaptive.programs import program
from tf_adaptive.reports.figures import LABEL_SIZE, draw_pictures

from .answers import collect_test_logits, load_multi_exit_run

_RUN_DIR = flags.DEFINE_string("run_dir", None, "run of a network with exits", required=True)
_FIGURE = flags.DEFINE_string("figure", None, "where to draw, a .png file", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets; the run's if unset")
_CLASSES = flags.DEFINE_integer("classes", 6, "classes to show, evenly spaced")
_IMAGES = flags.DEFINE_integer("images", 5, "images of each kind and class")
_BUDGET = flags.DEFINE_float(
    "budget_mmacs", None, "mean cost of early exit, as of export; the report's choice if unset"
)


def main():
    check_whole("classes", _CLASSES.value, least=1)
    check_whole("images", _IMAGES.value, least=1)
    run = load_multi_exit_run(_RUN_DIR.value, "run_dir")
    choice = {} if _BUDGET.value is None else {"budget_mmacs": _BUDGET.value}
    point = run.operating_point(**choice)
    dataset = run.dataset(data_dir=_DATA_DIR.value)
    logits, labels = collect_test_logits(run, dataset)
    (exits,) = exits_along(logits, [point.thresholds], point.measure, point.temperatures)
    answers = logits.argmax(axis=-1)[exits - 1, np.arange(len(labels))]
    right = answers == labels
    kinds = {
        "easy: right at the first exit": exits == 1,
        "hard: right at the last": exits == len(logits),
    }
    numbers = np.linspace(0, dataset.num_classes - 1, min(_CLASSES.value, dataset.num_classes))
    classes = np.unique(numbers.round().astype(int))
    figure = _drawn(dataset, labels, classes, {w: right & left for w, left in kinds.items()})
    with replaced_whole(pathlib.Path(_FIGURE.value)) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
    print(f"{_FIGURE.value}: {len(classes)} classes, early exit at {point.chosen}.")


def _drawn(dataset, labels, classes, kinds):
    columns = _IMAGES.value
    figure = Figure(figsize=(2.6 * columns, 0.8 + 1.7 * len(classes)), layout="constrained")
    for half, (words, of_kind) in zip(figure.subfigures(1, 2), kinds.items(), strict=True):
        half.suptitle(words, fontsize=LABEL_SIZE)
        for row, number in zip(
            np.atleast_1d(half.subfigures(len(classes), 1)), classes, strict=True
        ):
            positions = np.flatnonzero(of_kind & (labels == number))[:columns]
            pictures = dataset.pictures("test", positions.tolist())
            images = [(picture, number, number) for picture in pictures]
            draw_pictures(row, images, dataset.class_names, rows=1, columns=columns)
    return figure


if __name__ == "__main__":
    program.run(main, needs=("data", "report"))
