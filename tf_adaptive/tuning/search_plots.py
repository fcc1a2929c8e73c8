"""The figure of a search: accuracy against cost over its trials."""

from tf_adaptive.extras import lazily
from tf_adaptive.reports.figures import (
    BLUE,
    LABEL_SIZE,
    OKABE_ITO,
    VERMILION,
    finish_accuracy_axes,
    label_points,
)

mpl_figure = lazily("matplotlib.figure", extra="report")

_GREY = "0.6"


def accuracy_against_gflops(points, front, *, defaults, best, fixed, target_gflops):
    """The points of all trials, their Pareto front, and what they are compared with.

    Args:
        points: list of `Point`, of all trials.
        front: those of them on the Pareto front.
        defaults: those of the defaults' trial; none where it failed.
        best: those of the trial with the highest objective.
        fixed: list of `Point` of networks that choose nothing; may be empty.
        target_gflops: mean cost wanted; None for none.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure = mpl_figure.Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot()

    def draw(some, label, **style):
        some = sorted(some, key=lambda point: point.mean_gflops)
        costs = [point.mean_gflops for point in some]
        axes.plot(costs, [point.accuracy_percent for point in some], label=label, **style)

    if fixed:
        draw(fixed, "fixed resolutions", color=VERMILION, linestyle="--", marker="o", markersize=5)
        label_points(axes, [(p.name, p.mean_gflops, p.accuracy_percent) for p in fixed])
    if target_gflops is not None:
        axes.axvline(target_gflops, color="0.5", linestyle=":", label="target")
    draw(points, "trials", color=_GREY, linestyle="none", marker="o", markersize=5)
    on_front = {"color": BLUE, "drawstyle": "steps-post", "marker": ".", "linewidth": 1.5}
    draw(front, "Pareto front of the trials", **on_front)
    hollow = {"linestyle": "none", "markerfacecolor": "none", "markeredgewidth": 1.8}
    draw(defaults, "defaults", color="black", marker="s", markersize=8, **hollow)
    draw(best, "highest objective", color=OKABE_ITO[2], marker="o", markersize=12, **hollow)
    axes.margins(x=0.12, y=0.12)
    label = "mean GFLOPs per image (10⁹ multiply-accumulates)"
    finish_accuracy_axes(figure, axes, label, legend_columns=2)
    axes.set_ylabel("top-1 accuracy on validation images (%)", fontsize=LABEL_SIZE)
    # Trials lie close together: an axis from 0 on would hide what sets them apart.
    axes.set_xlim(auto=True)
    axes.autoscale(axis="x")
    return figure
