import dataclasses

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tf_adaptive.routing.evaluation import ChoiceRow, ResolutionRow, ScaleRow
from tf_adaptive.routing.plots import (
    accuracy_against_latency,
    accuracy_against_mean_macs,
    images_per_resolution,
    resolution_against_scale,
    smallest_right_resolution,
)

RESOLUTIONS = [96, 72, 48]
RESOLUTION_ROWS = [
    ResolutionRow(resolution=96, macs=40_000_000, accuracy_percent=92.0, share=0.3),
    ResolutionRow(resolution=72, macs=20_000_000, accuracy_percent=90.0, share=0.3),
    ResolutionRow(resolution=48, macs=10_000_000, accuracy_percent=86.0, share=0.4),
]
ROUTER, RANDOM = (
    ChoiceRow(
        choice=choice,
        mean_macs=24_000_000,
        accuracy_percent=accuracy,
        deviation_points=deviation,
        line_percent=90.4,
        shares=(0.3, 0.3, 0.4),
    )
    for choice, accuracy, deviation in (("router", 91.5, 0.0), ("random", 89.0, 0.25))
)


def points(line):
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))


def test_accuracy_against_mean_macs_draws_the_line_the_router_and_the_spread():
    figure = accuracy_against_mean_macs(RESOLUTION_ROWS, [ROUTER, RANDOM])
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    fixed, router, random = axes.lines[:3]
    assert points(fixed) == [(10, 86), (20, 90), (40, 92)]
    assert points(router) == [(24, 91.5)]
    assert points(random) == [(24, 89.0)]
    ((low, high),) = axes.collections[0].get_segments()
    np.testing.assert_allclose([low[1], high[1]], [88.75, 89.25])
    assert [text.get_text() for text in axes.texts] == ["48", "72", "96"]
    assert len(figure.legends[0].get_texts()) == 3


def test_smallest_right_resolution():
    rows = [
        dataclasses.replace(row, smallest_right_share=share)
        for row, share in zip(RESOLUTION_ROWS, (0.05, 0.15, 0.7), strict=True)
    ]
    (axes,) = smallest_right_resolution(rows).axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0.7, 0.15, 0.05, 0.1])
    assert [text.get_text() for text in axes.texts] == ["70.0 %", "15.0 %", "5.0 %", "10.0 %"]


def test_accuracy_against_latency_draws_measured_times():
    figure = accuracy_against_latency(RESOLUTION_ROWS, [ROUTER, RANDOM], [4.0, 2.0, 1.5], 2.5)
    FigureCanvasAgg(figure).draw()
    fixed, router = figure.axes[0].lines
    assert points(fixed) == [(1.5, 86), (2.0, 90), (4.0, 92)]
    assert points(router) == [(2.5, 91.5)]
    assert "milliseconds" in figure.axes[0].get_xlabel()


def test_resolution_against_scale_stacks_the_shares_and_draws_the_mean():
    rows = [
        ScaleRow(0.2, 0.3, 10, (0.7, 0.2, 0.1), 86.4),
        ScaleRow(0.5, 0.6, 30, (0.1, 0.4, 0.5), 62.4),
    ]
    figure = resolution_against_scale(rows, RESOLUTIONS)
    FigureCanvasAgg(figure).draw()
    bars, means = figure.axes
    assert [bar.get_label() for bar in bars.containers] == ["48 pixels", "72 pixels", "96 pixels"]
    for row_number, row in enumerate(rows):
        bottom = 0.0
        for container, share in zip(bars.containers, row.shares[::-1], strict=True):
            patch = container.patches[row_number]
            assert patch.get_y() == pytest.approx(bottom)
            assert patch.get_height() == pytest.approx(share)
            bottom += share
    np.testing.assert_allclose(points(means.lines[0]), [(0.25, 86.4), (0.55, 62.4)])
    # The same colours whatever the order that the resolutions are given in.
    backwards = [ScaleRow(r.least, r.most, r.samples, r.shares[::-1], 1.0) for r in rows]
    other = resolution_against_scale(backwards, RESOLUTIONS[::-1])
    for container, same in zip(bars.containers, other.axes[0].containers, strict=True):
        assert container.get_label() == same.get_label()
        assert container.patches[0].get_facecolor() == same.patches[0].get_facecolor()
        assert container.patches[0].get_height() == same.patches[0].get_height()


@pytest.mark.parametrize("counts", [(20, 3, 0), (0, 11)])
def test_images_per_resolution_shows_a_grid_each_or_says_there_are_none(counts):
    random = np.random.default_rng(0)
    grids = [
        (
            f"grid {number}",
            [(random.integers(0, 256, (8, 8, 1), "uint8"), n % 3, n % 2) for n in range(count)],
        )
        for number, count in enumerate(counts)
    ]
    figure = images_per_resolution(grids, ["cat", "dog", "frog"], "title")
    FigureCanvasAgg(figure).draw()
    assert len(figure.subfigs) == len(counts)
    for part, (heading, images) in zip(figure.subfigs, grids, strict=True):
        assert part.get_suptitle() == heading
        shown = [axes for axes in part.axes if axes.images]
        assert len(shown) == len(images)
        for axes, (picture, predicted, true) in zip(shown, images, strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), picture[..., 0])
            assert axes.get_title().startswith("✓" if predicted == true else "✗")
        assert ("no images" in [text.get_text() for text in part.texts]) == (not images)
