"""The report's figures: accuracy against cost, who leaves where, and the images themselves."""

import numpy as np

from tf_adaptive.exits.calibration import reliability
from tf_adaptive.extras import lazily
from tf_adaptive.reports.figure_names import drawable
from tf_adaptive.reports.figures import (
    BLUE,
    GREEN,
    LABEL_SIZE,
    OKABE_ITO,
    TEXT_SIZE,
    VERMILION,
    bare,
    draw_pictures,
    finish_accuracy_axes,
    label_points,
    set_accuracy_axes,
)

matplotlib = lazily("matplotlib", extra="report")
mpl_figure = lazily("matplotlib.figure", extra="report")
mpl_patheffects = lazily("matplotlib.patheffects", extra="report")
mpl_ticker = lazily("matplotlib.ticker", extra="report")

_MACS_LABEL = "MACs per image (millions)"
# The accuracy of fewer images says nothing.
_FEWEST_IN_A_BIN = 10
# Where the number of an exit stands.
_BELOW = {"offset": (0, -6), "ha": "center"}


def accuracy_against_macs(anytime_rows, budget_rows, static=(), static_line=(), optimal=()):
    """Accuracy of the single exits and of the budgets against MACs per image.

    Args:
        anytime_rows: what `evaluation.anytime` gave.
        budget_rows: what `evaluation.at_thresholds` gave.
        static: networks with one exit to show beside them, `(name, macs, accuracy_percent)` each.
        static_line: those of them that are joined by a line, in its order.
        optimal: rows as `budget_rows`, of thresholds that were searched jointly.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure = mpl_figure.Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    budgets = sorted(budget_rows, key=lambda row: row.mean_macs)
    axes.plot(
        [row.mean_macs / 1e6 for row in budgets],
        [row.accuracy_percent for row in budgets],
        color=BLUE,
        linewidth=2,
        label="budgeted: each image leaves when its exit is sure",
        zorder=3,
    )
    if optimal:
        axes.plot(
            [row.mean_macs / 1e6 for row in optimal],
            [row.accuracy_percent for row in optimal],
            color=OKABE_ITO[3],
            linewidth=1.5,
            linestyle=":",
            label="the same, thresholds searched jointly",
            zorder=4,
        )
    axes.plot(
        [row.macs / 1e6 for row in anytime_rows],
        [row.accuracy_percent for row in anytime_rows],
        color=VERMILION,
        linewidth=1.5,
        linestyle="--",
        marker="o",
        markersize=6,
        label="anytime: one exit (its number) for all images",
        zorder=2,
    )
    numbers = [(row.exit, row.macs / 1e6, row.accuracy_percent) for row in anytime_rows]
    label_points(axes, numbers, **_BELOW)
    _draw_static(
        axes,
        [(name, macs / 1e6, accuracy) for name, macs, accuracy in static],
        [(name, macs / 1e6, accuracy) for name, macs, accuracy in static_line],
    )
    axes.margins(y=0.1)
    finish_accuracy_axes(figure, axes, _MACS_LABEL)
    return figure


def accuracy_against_latency(panels):
    """Accuracy against measured time, a panel for each batch size.

    Args:
        panels: dictionary from a batch size to `(exits, early_exit, static, static_line)`: a list
            of `(number, (median, percentile_95), accuracy_percent)` in milliseconds per batch for
            the exits, the same with a name for `early_exit`, one, and for the static networks, and
            the names of those that are joined by a line, in its order.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure = mpl_figure.Figure(figsize=(6.4 * len(panels), 4.6), layout="constrained")
    for axes, (batch_size, panel) in zip(
        figure.subplots(1, len(panels), squeeze=False).ravel(), panels.items(), strict=True
    ):
        exits, early_exit, static, static_line = panel
        rows = [*exits, early_exit, *static]
        axes.hlines(
            [accuracy for _, _, accuracy in rows],
            [median for _, (median, _), _ in rows],
            [percentile for _, (_, percentile), _ in rows],
            color="0.75",
            linewidth=1.2,
            label="up to the 95th percentile",
            zorder=1,
        )
        axes.plot(
            [median for _, (median, _), _ in exits],
            [accuracy for _, _, accuracy in exits],
            color=VERMILION,
            linewidth=1.5,
            linestyle="--",
            marker="o",
            markersize=6,
            label="one exit (its number) for all images",
            zorder=2,
        )
        numbers = [(number, median, accuracy) for number, (median, _), accuracy in exits]
        label_points(axes, numbers, **_BELOW)
        _, (median, _), accuracy = early_exit
        axes.plot(
            median,
            accuracy,
            color=BLUE,
            linestyle="none",
            marker="D",
            markersize=9,
            label="early exit at the report's operating point",
            zorder=4,
        )
        points = {name: (name, median, accuracy) for name, (median, _), accuracy in static}
        _draw_static(axes, list(points.values()), [points[name] for name in static_line])
        axes.margins(y=0.12)
        axes.set_title(f"batch {batch_size}", fontsize=LABEL_SIZE)
        what = "image" if batch_size == 1 else f"batch of {batch_size}"
        set_accuracy_axes(axes, f"median milliseconds per {what}")
    # One legend: every panel has the same.
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=2,
        fontsize=TEXT_SIZE,
        frameon=False,
    )
    return figure


def _draw_static(axes, points, line):
    """Networks with one exit, `(name, cost, accuracy_percent)` each, and those on their line."""
    if not points:
        return
    axes.plot(
        [cost for _, cost, _ in line],
        [accuracy for _, _, accuracy in line],
        color=GREEN,
        linewidth=1.5,
        linestyle="-.",
        zorder=2,
    )
    axes.plot(
        [cost for _, cost, _ in points],
        [accuracy for _, _, accuracy in points],
        color=GREEN,
        linestyle="none",
        marker="s",
        markersize=7,
        label="static networks, the best joined",
        zorder=3,
    )
    for name, cost, accuracy in points:
        # Beside a line that rises: above on its left, or below where there is no room on the left.
        is_left = cost < axes.dataLim.x1 / 3
        text, families = drawable(name)
        axes.annotate(
            text,
            (cost, accuracy),
            xytext=(7, -3) if is_left else (-4, 5),
            textcoords="offset points",
            ha="left" if is_left else "right",
            va="top" if is_left else "bottom",
            fontsize=TEXT_SIZE,
            color=GREEN,
            fontfamily=families,
            parse_math=False,
            path_effects=[mpl_patheffects.withStroke(linewidth=3, foreground="white")],
            zorder=5,
        )


def accuracy_of_runs(families):
    """Anytime and budgeted accuracy of several networks against MACs per image.

    Args:
        families: dictionary from a label, at most as many as there are colours, to
            `(anytime, budgeted)`: a list of curves, one for each network of that label, and one
            curve, which may be empty; a curve is a list of `(macs, accuracy_percent)`.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure = mpl_figure.Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for (label, (anytime, budgeted)), colour in zip(families.items(), OKABE_ITO, strict=False):
        if budgeted:
            macs, accuracies = np.array(sorted(budgeted)).T
            axes.plot(macs / 1e6, accuracies, color=colour, linewidth=2, label=f"{label}, budgeted")
        for number, curve in enumerate(anytime):
            macs, accuracies = np.array(curve).T
            axes.plot(
                macs / 1e6,
                accuracies,
                color=colour,
                linewidth=1.5,
                linestyle="--",
                marker="o",
                markersize=6,
                label=None if number else f"{label}, anytime" if budgeted else label,
            )
    finish_accuracy_axes(figure, axes, _MACS_LABEL, legend_columns=2)
    return figure


def reliability_diagrams(logits, labels, rows):
    """Accuracy against confidence in bins, a panel for each exit, with its temperature and without.

    Args:
        logits: float `(exits, samples, classes)`.
        labels: integers `(samples,)`.
        rows: what `calibration_rows` gave.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    columns = min(len(rows), 4)
    lines = -(-len(rows) // columns)
    figure = mpl_figure.Figure(figsize=(3.2 * columns, 3.4 * lines + 0.8), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, row, exit_logits in zip(panels, rows, logits, strict=False):
        right = exit_logits.argmax(axis=-1) == labels
        axes.plot([0, 100], [0, 100], color="0.75", linewidth=1.2, label="confidence = accuracy")
        for temperature, words, colour, marker in (
            (1.0, "without", VERMILION, "s"),
            (row.temperature, "with its temperature", BLUE, "o"),
        ):
            counts, confidence, accuracy = reliability(exit_logits / temperature, right)
            accuracy[counts < _FEWEST_IN_A_BIN] = np.nan
            axes.plot(
                100 * confidence,
                100 * accuracy,
                color=colour,
                marker=marker,
                markersize=5,
                linewidth=1.2,
                label=words,
            )
        axes.set_title(
            f"exit {row.exit}: T = {row.temperature:.2f}\n"
            f"ECE {row.ece_percent_before:.1f} → {row.ece_percent:.1f} %",
            fontsize=TEXT_SIZE,
        )
        axes.set_xlabel("confidence (%)", fontsize=TEXT_SIZE)
        axes.grid(color="0.9", linewidth=0.8)
        bare(axes)
    for axes in panels[len(rows) :]:
        axes.set_axis_off()
    for axes in panels[::columns]:
        axes.set_ylabel("accuracy (%)", fontsize=TEXT_SIZE)
    handles, words = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, words, loc="outside upper center", ncols=3, fontsize=TEXT_SIZE, frameon=False
    )
    figure.supxlabel(f"bins of {_FEWEST_IN_A_BIN} test images and more", fontsize=TEXT_SIZE)
    return figure


def exits_along_budget(budget_rows):
    """The share of images that leave at each exit, stacked, along the budgets' mean MACs.

    Args:
        budget_rows: what `evaluation.at_thresholds` gave.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure = mpl_figure.Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    budgets = sorted(budget_rows, key=lambda row: row.mean_macs)
    num_exits = len(budgets[0].shares)
    # Lightness grows with the exit, so the order survives grey print and colour blindness.
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.95, num_exits))
    areas = axes.stackplot(
        [row.mean_macs / 1e6 for row in budgets],
        np.array([row.shares for row in budgets]).T,
        colors=colours,
        edgecolor="white",
        linewidth=0.5,
        labels=[f"exit {number}" for number in range(1, num_exits + 1)],
    )
    axes.margins(x=0, y=0)
    axes.yaxis.set_major_formatter(mpl_ticker.PercentFormatter(xmax=1, symbol=None))
    axes.set_xlabel("mean MACs per image (millions)", fontsize=LABEL_SIZE)
    axes.set_ylabel("test images leaving at each exit (%)", fontsize=LABEL_SIZE)
    # Reversed, so that the legend lists the exits as the areas lie on one another.
    axes.legend(
        handles=areas[::-1],
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        fontsize=TEXT_SIZE,
        frameon=False,
    )
    bare(axes)
    return figure


def first_and_last_exit(first, last, class_names, title):
    """A grid of images that left at the first exit beside one of those that needed the last.

    Args:
        first: `(heading, images)` of the left grid; `images` is a list of
            `(picture, predicted, true)`: a uint8 array `(height, width, 1 or 3)` and two
            class numbers.
        last: the same of the right grid.
        class_names: a name per class.
        title: a line or two above both.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    columns = 5
    rows = max(1, -(-max(len(first[1]), len(last[1])) // columns))
    figure = mpl_figure.Figure(figsize=(13, 1.6 + 1.6 * rows), layout="constrained")
    figure.suptitle(title, fontsize=14)
    figure.supxlabel("✓ right    ✗ wrong (true class in brackets)", fontsize=TEXT_SIZE)
    for half, (heading, images) in zip(
        figure.subfigures(1, 2, wspace=0.04), (first, last), strict=True
    ):
        half.suptitle(heading, fontsize=LABEL_SIZE)
        draw_pictures(half, images, class_names, rows=rows, columns=columns)
    return figure
