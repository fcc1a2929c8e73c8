"""The report of a resolution router: two tables and up to four figures in a folder."""

import math
import pathlib

import numpy as np

from tf_adaptive.errors import InputError
from tf_adaptive.reports.files import check_directory, put_in_place
from tf_adaptive.reports.pictures import checked_class_names, picture_grid
from tf_adaptive.routing import plots
from tf_adaptive.routing.evaluation import choices_by_scale, compare_choices

_SCALE_FIGURE = "resolution_against_scale.png"
_LATENCY_FIGURE = "accuracy_against_latency.png"


def write_resolution_report(
    directory,
    logits,
    choices,
    labels,
    resolutions,
    branch_macs,
    predictor_macs,
    pictures,
    class_names=None,
    object_scales=None,
    fixed_milliseconds=None,
    routed_milliseconds=None,
):
    """Writes `resolutions.csv`, `comparison.csv` and the figures into `directory`.

    The figures are `accuracy_against_mean_macs.png` and `images_per_resolution.png`, with
    object scales `resolution_against_scale.png`, and with times
    `accuracy_against_latency.png`. Each file is put in place whole; where anything fails
    before that, none is. A former report is replaced, with the figures that this one lacks.

    Args:
        directory: the folder, made when missing.
        logits, choices, labels, resolutions, branch_macs, predictor_macs: of the test images,
            see `evaluation.compare_choices`.
        pictures: a function from a list of test positions to their images, uint8
            `(height, width, 1 or 3)` each.
        class_names: a name per class; the class numbers when None.
        object_scales: `(samples,)`, see `evaluation.choices_by_scale`; None where
            they are not known.
        fixed_milliseconds: measured time per image at each resolution, or None.
        routed_milliseconds: measured time per image of the routed network, or None.

    Returns:
        `(resolution_rows, choice_rows)`, see `evaluation.compare_choices`.

    Raises:
        InputError: what `compare_choices` and `choices_by_scale` refuse, a wrong number of
            class names, scales or times, or a `directory` that is a file.
    """
    check_directory(directory)
    resolution_rows, choice_rows = compare_choices(
        logits, choices, labels, resolutions, branch_macs, predictor_macs
    )
    class_names = checked_class_names(class_names, logits.shape[-1])
    _check_times(fixed_milliseconds, routed_milliseconds, len(resolutions))

    figures = {
        "accuracy_against_mean_macs.png": plots.accuracy_against_mean_macs(
            resolution_rows, choice_rows
        ),
        "images_per_resolution.png": _images_per_resolution(
            choice_rows[0], logits, choices, labels, resolutions, pictures, class_names
        ),
    }
    if object_scales is not None:
        scale_rows = choices_by_scale(choices, object_scales, resolutions)
        figures[_SCALE_FIGURE] = plots.resolution_against_scale(scale_rows, resolutions)
    if fixed_milliseconds is not None:
        figures[_LATENCY_FIGURE] = plots.accuracy_against_latency(
            resolution_rows, choice_rows, fixed_milliseconds, routed_milliseconds
        )
    tables = {
        "resolutions.csv": resolution_table(resolution_rows, fixed_milliseconds),
        "comparison.csv": comparison_table(choice_rows, resolutions, routed_milliseconds),
    }
    put_in_place(directory, tables, figures)
    for name in {_SCALE_FIGURE, _LATENCY_FIGURE} - set(figures):
        (pathlib.Path(directory) / name).unlink(missing_ok=True)
    return resolution_rows, choice_rows


def resolution_table(resolution_rows, fixed_milliseconds=None):
    """The rows of `resolutions.csv`: a dict from column to text or number per resolution."""
    table = [
        {
            "resolution": row.resolution,
            "macs": row.macs,
            "accuracy_percent": f"{row.accuracy_percent:.4f}",
            "router_share": f"{row.share:.6f}",
        }
        for row in resolution_rows
    ]
    if fixed_milliseconds is not None:
        for line, milliseconds in zip(table, fixed_milliseconds, strict=True):
            line["milliseconds_per_image"] = f"{milliseconds:.4f}"
    return table


def comparison_table(choice_rows, resolutions, routed_milliseconds=None):
    """The rows of `comparison.csv`: a dict from column to text or number, router and random."""
    table = [
        {
            "choice": row.choice,
            "mean_macs": row.mean_macs,
            "accuracy_percent": f"{row.accuracy_percent:.4f}",
            "deviation_points": f"{row.deviation_points:.4f}",
            "line_percent": f"{row.line_percent:.4f}",
            "above_line_points": f"{row.above_line_points:.4f}",
            **{
                f"share_{resolution}": f"{share:.6f}"
                for resolution, share in zip(resolutions, row.shares, strict=True)
            },
        }
        for row in choice_rows
    ]
    if routed_milliseconds is not None:
        # A random choice is not timed: it is there for its accuracy.
        router, random = table
        router["milliseconds_per_image"] = f"{routed_milliseconds:.4f}"
        random["milliseconds_per_image"] = ""
    return table


def _images_per_resolution(router, logits, choices, labels, resolutions, pictures, class_names):
    choices, labels = np.asarray(choices), np.asarray(labels)
    grids = [
        picture_grid(
            f"Seen at {resolution} pixels",
            np.flatnonzero(choices == number),
            logits[number].argmax(axis=-1),
            labels,
            pictures,
            most=20,
        )
        for number, resolution in enumerate(resolutions)
    ]
    title = (
        f"Each image at the resolution chosen for it: {router.mean_macs / 1e6:,.1f} million "
        f"MACs per image, accuracy {router.accuracy_percent:.1f} %"
    )
    return plots.images_per_resolution(grids, class_names, title)


def _check_times(fixed_milliseconds, routed_milliseconds, count):
    if fixed_milliseconds is None and routed_milliseconds is None:
        return
    if fixed_milliseconds is None or routed_milliseconds is None:
        raise InputError(
            "`fixed_milliseconds` and `routed_milliseconds` must be given together. Received: "
            f"fixed_milliseconds={fixed_milliseconds}, routed_milliseconds={routed_milliseconds}."
        )
    times = [*fixed_milliseconds, routed_milliseconds]
    if len(times) != count + 1 or not all(math.isfinite(time) and time > 0 for time in times):
        raise InputError(
            f"`fixed_milliseconds` must hold {count} times above 0, one per resolution, and "
            "`routed_milliseconds` one. Received: "
            f"fixed_milliseconds={list(fixed_milliseconds)}, "
            f"routed_milliseconds={routed_milliseconds}."
        )
