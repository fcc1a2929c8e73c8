"""The look that all figures share."""

from tf_adaptive.reports.figure_names import drawable

# Blue and vermilion of Okabe and Ito, told apart by every kind of colour vision.
BLUE = "#0072B2"

VERMILION = "#D55E00"

GREEN = "#009E73"

OKABE_ITO = (BLUE, VERMILION, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")

LABEL_SIZE = 12

TEXT_SIZE = 10


def finish_accuracy_axes(figure, axes, cost_label, *, legend_columns=1):
    """What every figure of accuracy against a cost has: labels, grid and legend."""
    set_accuracy_axes(axes, cost_label)
    legend_above(figure, columns=legend_columns)


def set_accuracy_axes(axes, cost_label):
    """Labels and grid of axes of accuracy against a cost."""
    axes.set_xlim(left=0)
    axes.set_xlabel(cost_label, fontsize=LABEL_SIZE)
    axes.set_ylabel("top-1 accuracy (%)", fontsize=LABEL_SIZE)
    axes.grid(color="0.9", linewidth=0.8)
    bare(axes)


def label_points(axes, points, *, offset=(6, -4), ha="left"):
    """Writes beside points what they are.

    Args:
        axes: where they are drawn.
        points: `(label, x, y)` of each.
        offset: from the point to its label, in points of print.
        ha: which side of the label that is.
    """
    for label, x, y in points:
        axes.annotate(
            str(label),
            (x, y),
            xytext=offset,
            textcoords="offset points",
            ha=ha,
            va="top",
            fontsize=TEXT_SIZE,
            color=VERMILION,
        )


def legend_above(figure, *, columns=1):
    """Puts the legend above the axes: whatever the curves' form, it hides none of them."""
    figure.legend(loc="outside upper center", ncols=columns, fontsize=TEXT_SIZE, frameon=False)


def draw_pictures(figure, images, class_names, *, rows, columns):
    """Fills a figure or subfigure with captioned pictures, or says that there are none.

    Args:
        figure: where to draw.
        images: list of `(picture, predicted, true)`: uint8 `(height, width, 1 or 3)` and two
            classes; and where there is one, what to put below the picture.
        class_names: a name per class.
        rows, columns: of the grid; places without an image stay empty.
    """
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, (picture, predicted, true, *notes) in zip(grid, images, strict=False):
        axes.imshow(
            picture[..., 0] if picture.shape[-1] == 1 else picture,
            cmap="gray",
            vmin=0,
            vmax=255,
        )
        name, families = drawable(class_names[predicted])
        true_name, more_families = drawable(class_names[true])
        name, true_name = _short(name), _short(true_name)
        # The empty second line keeps the pictures of a row level.
        axes.set_title(
            f"✓ {name}\n" if predicted == true else f"✗ {name}\n({true_name})",
            fontsize=TEXT_SIZE,
            color=BLUE if predicted == true else VERMILION,
            fontfamily=[*families, *more_families],
            parse_math=False,
            linespacing=1.1,
            pad=5,
        )
        for note in notes:
            axes.text(0.5, -0.04, note, transform=axes.transAxes, ha="center", va="top", fontsize=8)
    if not images:
        figure.text(0.5, 0.5, "no images", ha="center", fontsize=LABEL_SIZE, color="0.4")


def bare(axes):
    """The package's look: ticks of one size, no lines above and on the right."""
    axes.tick_params(labelsize=TEXT_SIZE)
    axes.spines[["top", "right"]].set_visible(False)


def _short(name, length=13):
    return name if len(name) <= length else name[: length - 1].rstrip() + "…"
