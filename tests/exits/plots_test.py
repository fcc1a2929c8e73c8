import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tf_adaptive.exits.evaluation import AnytimeRow, BudgetRow
from tf_adaptive.exits.plots import (
    accuracy_against_latency,
    accuracy_against_macs,
    exits_along_budget,
    first_and_last_exit,
)


def rows(num_exits):
    anytime_rows = [
        AnytimeRow(exit=k, macs=k * 2_000_000, lazy_macs=k, parameters=k, accuracy_percent=80.0 + k)
        for k in range(1, num_exits + 1)
    ]
    random = np.random.default_rng(num_exits)
    budget_rows = [
        BudgetRow(
            p=p,
            mean_macs=int(p * 3_000_000),
            mean_lazy_macs=1,
            accuracy_percent=80.0 + p,
            shares=tuple(random.dirichlet(np.ones(num_exits)).tolist()),
            thresholds=(np.float32(0.5),) * (num_exits - 1),
        )
        for p in (1.5, 0.5, 1.0)
    ]
    return anytime_rows, budget_rows


def images(count, channels):
    random = np.random.default_rng(count)
    return [
        (random.integers(0, 256, (8, 8, channels), "uint8"), index % 3, index % 2)
        for index in range(count)
    ]


def shown(figure, half):
    return [axes for axes in figure.subfigs[half].axes if axes.images]


@pytest.mark.parametrize("num_exits", [2, 10])
def test_accuracy_against_macs_draws_both_curves(num_exits):
    figure = accuracy_against_macs(*rows(num_exits))
    budgeted, anytime = figure.axes[0].lines
    np.testing.assert_allclose(budgeted.get_xdata(), [1.5, 3.0, 4.5])
    np.testing.assert_allclose(budgeted.get_ydata(), [80.5, 81.0, 81.5])
    np.testing.assert_allclose(anytime.get_xdata(), 2.0 * np.arange(1, num_exits + 1))
    np.testing.assert_allclose(anytime.get_ydata(), 80.0 + np.arange(1, num_exits + 1))
    numbers = [text.get_text() for text in figure.axes[0].texts]
    assert numbers == [str(k) for k in range(1, num_exits + 1)]
    assert "millions" in figure.axes[0].get_xlabel()


def test_static_networks_beside_both_curves():
    static = [("small", 1_000_000, 79.0), ("bad", 2_000_000, 70.0), ("wide", 4_000_000, 83.0)]
    figure = accuracy_against_macs(*rows(2), static, [static[0], static[2]])
    _, _, line, points = figure.axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[1, 79], [4, 83]])
    np.testing.assert_allclose(points.get_xydata(), [[1, 79], [2, 70], [4, 83]])
    assert [text.get_text() for text in figure.axes[0].texts][2:] == ["small", "bad", "wide"]
    assert points.get_linestyle() == "None"


def test_accuracy_against_latency_has_a_panel_for_each_batch_size():
    exits = [(1, (2.0, 3.0), 80.0), (2, (5.0, 9.0), 90.0)]
    early_exit, static = ("early exit", (2.5, 5.5), 89.0), [("small", (1.0, 1.5), 85.0)]
    figure = accuracy_against_latency(
        {1: (exits, early_exit, static, ["small"]), 64: (exits, early_exit, [], [])}
    )
    first, second = figure.axes
    for axes, networks in ((first, 4), (second, 3)):
        by_label = {line.get_label(): line for line in axes.lines}
        drawn = by_label["one exit (its number) for all images"].get_xydata()
        np.testing.assert_allclose(drawn, [[2, 80], [5, 90]])
        drawn = by_label["early exit at the report's operating point"].get_xydata()
        np.testing.assert_allclose(drawn, [[2.5, 89]])
        (spans,) = axes.collections
        assert len(spans.get_segments()) == networks
        np.testing.assert_allclose(spans.get_segments()[1], [[5, 90], [9, 90]])
    assert [axes.get_title() for axes in figure.axes] == ["batch 1", "batch 64"]
    assert second.get_xlabel() == "median milliseconds per batch of 64"
    FigureCanvasAgg(figure).draw()


@pytest.mark.parametrize("num_exits", [2, 10])
def test_exits_along_budget_stacks_the_shares(num_exits):
    budget_rows = rows(num_exits)[1]
    figure = exits_along_budget(budget_rows)
    areas = figure.axes[0].collections
    assert len(areas) == num_exits
    by_cost = sorted(budget_rows, key=lambda row: row.mean_macs)
    for row in by_cost:
        for k, area in enumerate(areas):
            (path,) = area.get_paths()
            heights = path.vertices[np.isclose(path.vertices[:, 0], row.mean_macs / 1e6), 1]
            assert heights.min() == pytest.approx(sum(row.shares[:k]))
            assert heights.max() == pytest.approx(sum(row.shares[: k + 1]))
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == [f"exit {k}" for k in range(num_exits, 0, -1)]


@pytest.mark.parametrize("channels", [1, 3])
def test_first_and_last_exit_shows_each_picture_with_its_caption(channels):
    first, last = images(20, channels), images(7, channels)
    names = ["cat", "dog", "a very long class name, with a comma"]
    figure = first_and_last_exit(("left", first), ("right", last), names, "budget")
    FigureCanvasAgg(figure).draw()
    for half, expected in enumerate((first, last)):
        axes = shown(figure, half)
        assert len(axes) == len(expected)
        for one, (picture, predicted, true) in zip(axes, expected, strict=True):
            np.testing.assert_array_equal(one.images[0].get_array(), np.squeeze(picture))
            mark = "✓" if predicted == true else "✗"
            assert one.get_title().startswith(f"{mark} {names[predicted][:3]}")
            assert (f"({names[true]})" in one.get_title()) == (predicted != true)
            assert max(map(len, one.get_title().split("\n"))) <= 15


def test_class_names_in_any_script_are_drawn():
    names = ["кошка", "猫", "\U00012000", "$x_1$ for $9", "x\ny", "caf\udce9"]
    every = [(np.zeros((8, 8, 3), "uint8"), label, label) for label in range(len(names))]
    figure = first_and_last_exit(("left", every), ("right", every), names, "budget")
    FigureCanvasAgg(figure).draw()  # a character without a font would be a warning, an error here
    titles = [one.get_title()[2:-1] for one in shown(figure, 0)]
    assert titles[0] == "кошка"
    assert titles[1] in ("猫", "\\u732b")
    assert titles[3:] == ["$x_1$ for $9", "x\\ny", "caf\\udce9"]


def test_static_networks_names_are_drawn_as_they_are():
    figure = accuracy_against_macs(*rows(2), [("猫_$1$", 1_000_000, 79.0)])
    FigureCanvasAgg(figure).draw()
    assert figure.axes[0].texts[-1].get_text().endswith("_$1$")


def test_first_and_last_exit_does_not_stretch_the_contrast():
    dim = [(np.full((8, 8, 1), 10, "uint8"), 0, 0)]
    figure = first_and_last_exit(("left", dim), ("right", dim), ["cat"], "budget")
    assert shown(figure, 0)[0].images[0].get_clim() == (0, 255)


@pytest.mark.parametrize("counts", [(0, 5), (5, 0), (0, 0)])
def test_first_and_last_exit_says_where_there_are_no_images(counts):
    figure = first_and_last_exit(
        *(("heading", images(count, 1)) for count in counts), ["cat", "dog", "frog"], "budget"
    )
    FigureCanvasAgg(figure).draw()
    for half, count in enumerate(counts):
        assert len(shown(figure, half)) == count
        texts = [text.get_text() for text in figure.subfigs[half].texts]
        assert ("no images" in texts) == (count == 0)
