"""The figures of a resolution router: accuracy against cost, and who is seen how sharply."""

import numpy as np

from tf_adaptive.extras import lazily
from tf_adaptive.reports.figures import (
    BLUE,
    LABEL_SIZE,
    TEXT_SIZE,
    VERMILION,
    bare,
    draw_pictures,
    finish_accuracy_axes,
    label_points,
    legend_above,
)

matplotlib = lazily("matplotlib", extra="report")
mpl_figure = lazily("matplotlib.figure", extra="report")
mpl_ticker = lazily("matplotlib.ticker", extra="report")

_PICTURE_COLUMNS = 10
_GREY = "0.35"
# What a random choice does, and its marker.
_RANDOM = {"random": ("at the router's mean MACs", "s"), "uniform": ("each as often", "x")}


def accuracy_against_mean_macs(resolution_rows, choice_rows):
    """Accuracy of the fixed resolutions, the router and the random choices against mean MACs.

    Args:
        resolution_rows, choice_rows: what `evaluation.compare_choices` gave.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    router, *random = choice_rows
    figure, axes = _accuracy_axes(
        [row.macs / 1e6 for row in resolution_rows],
        resolution_rows,
        router.mean_macs / 1e6,
        router,
    )
    for row in random:
        words, marker = _RANDOM[row.choice]
        axes.errorbar(
            row.mean_macs / 1e6,
            row.accuracy_percent,
            yerr=row.deviation_points,
            color=_GREY,
            marker=marker,
            markersize=4,
            capsize=7,
            linestyle="none",
            label=f"random choice, {words} (3 seeds, ± standard deviation)",
            zorder=3,
        )
    finish_accuracy_axes(figure, axes, "mean MACs per image (millions)")
    return figure


def accuracy_against_latency(resolution_rows, choice_rows, fixed_milliseconds, routed_milliseconds):
    """Accuracy of the fixed resolutions and of the router against measured time (figure 3).

    Args:
        resolution_rows, choice_rows: what `evaluation.compare_choices` gave.
        fixed_milliseconds: per image at each resolution, in the rows' order.
        routed_milliseconds: per image of the routed network, its predictor included.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure, axes = _accuracy_axes(
        fixed_milliseconds, resolution_rows, routed_milliseconds, choice_rows[0]
    )
    finish_accuracy_axes(figure, axes, "measured time per image (milliseconds)")
    return figure


def images_per_resolution(grids, class_names, title):
    """A grid of images for each chosen resolution, one below the other.

    Args:
        grids: a list of `(heading, images)`, see `tf_adaptive.reports.pictures.picture_grid`.
        class_names: a name per class.
        title: a line or two above all.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    rows = [max(1, -(-len(images) // _PICTURE_COLUMNS)) for _, images in grids]
    lines = max(
        (
            note.count("\n") + 1
            for _, images in grids
            for _, _, _, *notes in images
            for note in notes
        ),
        default=0,
    )
    heights = [0.5 + (1.75 + 0.15 * lines) * count for count in rows]
    figure = mpl_figure.Figure(figsize=(13, 1.2 + sum(heights)), layout="constrained")
    figure.suptitle(title, fontsize=14)
    words = "✓ right    ✗ wrong (true class in brackets)"
    if lines:
        words += "    below: the predictor's probability of each resolution"
    figure.supxlabel(words, fontsize=TEXT_SIZE)
    parts = figure.subfigures(len(grids), 1, squeeze=False, height_ratios=heights).ravel()
    for part, (heading, images), count in zip(parts, grids, rows, strict=True):
        part.suptitle(heading, fontsize=LABEL_SIZE)
        draw_pictures(part, images, class_names, rows=count, columns=_PICTURE_COLUMNS)
    return figure


def smallest_right_resolution(resolution_rows):
    """How many images each resolution is the smallest right one of (figure 1).

    Args:
        resolution_rows: what `evaluation.compare_choices` gave.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure = mpl_figure.Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    rows = sorted(resolution_rows, key=lambda row: row.resolution)
    shares = [row.smallest_right_share for row in rows]
    names = [f"{row.resolution}" for row in rows]
    bars = axes.bar([*names, "none is right"], [*shares, 1 - sum(shares)], color=BLUE, width=0.6)
    bars[-1].set_color(_GREY)
    axes.bar_label(bars, fmt=lambda share: f"{100 * share:.1f} %", fontsize=TEXT_SIZE, padding=2)
    axes.yaxis.set_major_formatter(mpl_ticker.PercentFormatter(xmax=1, symbol=None))
    axes.set_xlabel("smallest resolution that is right (pixels)", fontsize=LABEL_SIZE)
    axes.set_ylabel("test images (%)", fontsize=LABEL_SIZE)
    bare(axes)
    return figure


def resolution_against_scale(scale_rows, resolutions):
    """The share of each resolution, stacked, and the mean resolution per object scale.

    Args:
        scale_rows: what `evaluation.choices_by_scale` gave.
        resolutions: pixels, in the order of the rows' shares.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure = mpl_figure.Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    # Lightness grows as the resolution falls, so the order survives grey print.
    colours = matplotlib.colormaps["viridis"](np.linspace(0.25, 0.95, len(resolutions)))
    middles = [(row.least + row.most) / 2 for row in scale_rows]
    bottoms = np.zeros(len(scale_rows))
    for number in np.argsort(resolutions):
        shares = np.array([row.shares[number] for row in scale_rows])
        rank = int(np.sum(np.asarray(resolutions) > resolutions[number]))
        axes.bar(
            middles,
            shares,
            width=0.092,
            bottom=bottoms,
            color=colours[rank],
            label=f"{resolutions[number]} pixels",
        )
        bottoms += shares
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(mpl_ticker.PercentFormatter(xmax=1, symbol=None))
    axes.set_xticks(sorted({edge for row in scale_rows for edge in (row.least, row.most)}))
    axes.set_xlabel("object's side as a part of the image's", fontsize=LABEL_SIZE)
    axes.set_ylabel("images at each resolution (%)", fontsize=LABEL_SIZE)
    bare(axes)

    means = axes.twinx()
    means.plot(
        middles,
        [row.mean_resolution for row in scale_rows],
        color=VERMILION,
        linewidth=2,
        marker="o",
        markeredgecolor="white",
        label="mean (right axis)",
    )
    means.set_ylim(min(resolutions), max(resolutions))
    means.set_yticks(sorted(resolutions))
    means.set_ylabel("mean resolution (pixels)", fontsize=LABEL_SIZE, color=VERMILION)
    means.tick_params(labelsize=TEXT_SIZE, colors=VERMILION)
    means.spines[["top", "left"]].set_visible(False)
    legend_above(figure, columns=len(resolutions) + 1)
    return figure


def _accuracy_axes(fixed_costs, resolution_rows, routed_cost, router):
    """The fixed resolutions, joined in order of cost, and the router."""
    figure = mpl_figure.Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    points = sorted(zip(fixed_costs, resolution_rows, strict=True), key=lambda point: point[0])
    axes.plot(
        [cost for cost, _ in points],
        [row.accuracy_percent for _, row in points],
        color=VERMILION,
        linewidth=1.5,
        linestyle="--",
        marker="o",
        markersize=6,
        label="one resolution (in pixels) for all images",
        zorder=2,
    )
    label_points(axes, [(row.resolution, cost, row.accuracy_percent) for cost, row in points])
    axes.plot(
        routed_cost,
        router.accuracy_percent,
        color=BLUE,
        linestyle="none",
        marker="D",
        markersize=9,
        label="router, its predictor's cost included",
        zorder=4,
    )
    axes.margins(y=0.15)
    axes.set_xlim(right=1.06 * max(*fixed_costs, routed_cost))
    return figure, axes
