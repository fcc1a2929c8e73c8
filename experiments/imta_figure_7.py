"""Accuracy by the rank of the confidence, exit by exit (after IMTA, Li et al. 2019, Figure 7).

    python -m experiments.imta_figure_7 --run_dirs runs/plain,runs/improved \
        --labels plain,improved --figure ranks.png

Of every run and exit the test images are ranked by the exit's confidence, and counted right or
wrong tenth by tenth, most confident first. Early exit answers the first ranks at each exit: there
the better network is the one that is right, whatever its accuracy over all ranks.
"""

import pathlib

import numpy as np
from absl import flags
from matplotlib.figure import Figure

from tf_adaptive.errors import InputError
from tf_adaptive.exits.thresholds import confidence_scores
from tf_adaptive.files import replaced_whole
from tf_adaptive.programs import program
from tf_adaptive.reports.figures import LABEL_SIZE, OKABE_ITO, bare, legend_above

from .answers import collect_test_logits, load_multi_exit_run
from .tables import print_table

_RUN_DIRS = flags.DEFINE_list("run_dirs", None, "runs of networks with exits", required=True)
_LABELS = flags.DEFINE_list("labels", None, "what to call each run; its folder if unset")
_FIGURE = flags.DEFINE_string("figure", None, "where to draw, a .png file", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets; the runs' if unset")

_RANKS = 10


def main():
    labels = _LABELS.value or [pathlib.Path(run_dir).resolve().name for run_dir in _RUN_DIRS.value]
    if len(labels) != len(_RUN_DIRS.value) or len(set(labels)) < len(labels):
        raise InputError(
            f"`labels` must be {len(_RUN_DIRS.value)} different ones, one a run. "
            f"Received: {','.join(labels)}."
        )
    if len(labels) > len(OKABE_ITO):
        raise InputError(f"`run_dirs` must be at most {len(OKABE_ITO)}. Received: {len(labels)}.")
    runs = [load_multi_exit_run(run_dir, "run_dirs") for run_dir in _RUN_DIRS.value]
    curves = {}
    for label, run in zip(labels, runs, strict=True):
        logits, classes = collect_test_logits(run, run.dataset(data_dir=_DATA_DIR.value))
        curves[label] = [_accuracy_by_rank(of_exit, classes) for of_exit in logits]
    print_table(
        ["", *(f"{rank + 1}. tenth" for rank in range(_RANKS))],
        [
            [f"{label}, exit {number}", *(f"{accuracy:.2f}" for accuracy in curve)]
            for label, of_exits in curves.items()
            for number, curve in enumerate(of_exits, start=1)
        ],
    )
    with replaced_whole(pathlib.Path(_FIGURE.value)) as temporary:
        _drawn(curves).savefig(temporary, dpi=150, format="png")


def _accuracy_by_rank(logits, classes):
    """Percent right in each tenth of the images `(images, classes)`, most confident first."""
    ranked = np.argsort(-np.asarray(confidence_scores(logits)), kind="stable")
    right = (logits.argmax(axis=-1) == classes)[ranked]
    return [100 * tenth.mean() for tenth in np.array_split(right, _RANKS)]


def _drawn(curves):
    exits = max(map(len, curves.values()))
    figure = Figure(figsize=(2.8 * exits, 3.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, exits, sharey=True))
    for color, (label, of_exits) in zip(OKABE_ITO, curves.items(), strict=False):
        for axes, curve in zip(panels, of_exits, strict=False):
            of_first = label if axes is panels[0] else None
            axes.plot(range(1, _RANKS + 1), curve, color=color, marker="o", label=of_first)
    for number, axes in enumerate(panels, start=1):
        axes.set_title(f"exit {number}", fontsize=LABEL_SIZE)
        axes.set_xticks([1, 5, _RANKS])
        bare(axes)
    panels[0].set_ylabel("test accuracy (%)", fontsize=LABEL_SIZE)
    figure.supxlabel("tenth of the images, most confident first", fontsize=LABEL_SIZE)
    legend_above(figure, columns=len(curves))
    return figure


if __name__ == "__main__":
    program.run(main, needs=("data", "report"))
