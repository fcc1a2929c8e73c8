"""The figure of benchmarks.growth."""

import numpy as np

from benchmarks.growth_points import LITERT, PATHS
from tf_adaptive.extras import lazily
from tf_adaptive.reports.figures import LABEL_SIZE, OKABE_ITO, TEXT_SIZE, bare, legend_above

mpl_figure = lazily("matplotlib.figure", extra="report")

_COLUMNS = 4
_COLORS = dict(zip(PATHS, OKABE_ITO, strict=False))
_LABELS = {
    "batch": "images in a batch",
    "images": "images of a job",
    "exits": "exits",
    "depth": "layers of a block",
    "resolution": "pixels a side",
    "classes": "classes",
    "threads": "threads",
}
_QUANTITIES = {"ms_per_image": "ms an image", "memory_mb": "MB"}


def growth_figure(rows):
    """Time and memory against each axis, with lines of time that is proportional to the MACs.

    Args:
        rows: dictionaries with "axis", "value", "path", "ms_per_image", "memory_mb" and
            "macs_per_image", those of an axis and path in order of the value.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    axes_shown = list(dict.fromkeys(row["axis"] for row in rows))
    shown = {row["path"] for row in rows}
    columns = min(_COLUMNS, len(axes_shown))
    bands = -(-len(axes_shown) // columns)
    figure = mpl_figure.Figure(figsize=(0.8 + 3.0 * columns, 1 + 4.6 * bands), layout="constrained")
    panels = figure.subplots(2 * bands, columns, squeeze=False, sharey="row")
    for panel in panels.ravel():
        panel.set_axis_off()
    for place, axis in enumerate(axes_shown):
        band, column = divmod(place, columns)
        for offset, (quantity, label) in enumerate(_QUANTITIES.items()):
            panel = panels[2 * band + offset, column]
            panel.set_axis_on()
            _draw(panel, [row for row in rows if row["axis"] == axis], quantity)
            if column == 0:
                panel.set_ylabel(label, fontsize=LABEL_SIZE)
            if offset == 1:
                panel.set_xlabel(_LABELS[axis], fontsize=LABEL_SIZE)
    for path in PATHS:
        if path in shown:
            panels[0, 0].plot([], [], **_look(path), label=path)
    panels[0, 0].plot([], [], color="0.5", linestyle=":", label="as the MACs grow")
    legend_above(figure, columns=min(3, columns))
    return figure


def _draw(panel, rows, quantity):
    values = sorted({int(row["value"]) for row in rows})
    for path, color in _COLORS.items():
        own = [row for row in rows if row["path"] == path]
        if not own:
            continue
        sizes = np.array([int(row["value"]) for row in own])
        amounts = np.array([float(row[quantity]) for row in own])
        panel.plot(sizes, amounts, **_look(path))
        if quantity == "ms_per_image":
            macs = np.array([float(row["macs_per_image"]) for row in own])
            if own[0]["axis"] == "threads":
                expected = amounts[0] * sizes[0] / sizes
            else:
                # Through the largest, where what is the same for every size counts least.
                expected = amounts[-1] * macs / macs[-1]
            panel.plot(sizes, expected, color=color, linestyle=":", linewidth=1.2)
    panel.set_xscale("log")
    panel.set_yscale("log")
    # Of batches, every third is enough to read.
    shown = values[::3] if len(values) > 6 else values
    panel.set_xticks(shown, map(str, shown))
    panel.set_xticks([], minor=True)
    panel.yaxis.set_major_formatter("{x:g}")
    panel.grid(color="0.9", linewidth=0.8)
    panel.tick_params(labelsize=TEXT_SIZE)
    bare(panel)


def _look(path):
    # It holds as much memory as with early exit, whose line is above its.
    width = 3.5 if path == LITERT else 1.5
    return {"color": _COLORS[path], "linewidth": width, "marker": "o", "markersize": 2.5 + width}
