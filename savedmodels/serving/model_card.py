"""`model_card.md`: what an exported model is, what it costs, and how it was trained."""

from tf_adaptive.data.decoding import AS_SEEN, MAX_PIXELS, PICTURE_KINDS

_MILLION = 1e6
# Settings that say where a run was, and not what it is.
_NOT_TRAINING = {
    *("run_dir", "data_dir", "resume", "stage_1_from", "checkpoint_seconds", "versions"),
    *("class_names", "image_shape", "mean", "std", "center_crop", "sizes", "dataset"),
}


def exit_sections(anytime_table, point):
    """The part of a card about exits and thresholds.

    Args:
        anytime_table: rows of the run's `anytime.csv`, dictionaries of text.
        point: `savedmodels.operating_point.OperatingPoint`.
    """
    if len(anytime_table) == 1:
        (row,) = anytime_table
        return [
            "## Cost and accuracy",
            f"One exit: {_millions(row['macs'])} million MACs an image, "
            f"{_millions(row['parameters'])} million parameters, "
            f"{_percent(row['accuracy_percent'])} on the test images. The confidence is "
            f"`{point.measure}`.",
        ]
    rows = [
        (
            row["exit"],
            _millions(row["macs"]),
            _millions(row["lazy_macs"]),
            _millions(row["parameters"]),
            _percent(row["accuracy_percent"]),
            threshold,
        )
        for row, threshold in zip(
            anytime_table, [*map(str, point.thresholds), "takes the rest"], strict=True
        )
    ]
    if point.accuracy_percent is None:
        measured = "Neither accuracy nor cost was measured at them."
    else:
        whole = int(anytime_table[-1]["macs"])
        measured = (
            f"On the test images that gave {point.accuracy_percent:.2f} % at "
            f"{point.mean_macs / _MILLION:.2f} million MACs an image on average, "
            f"{100 * point.mean_macs / whole:.0f} % of the whole network's."
        )
    return [
        "## Exits",
        _table(
            ("exit", "M MACs", "computed in stages", "M parameters", "test accuracy", "threshold"),
            rows,
        ),
        f"An image leaves at the first exit whose confidence (`{point.measure}`) is at least its "
        f"threshold. The thresholds are {point.chosen}. {measured} Signatures that take "
        "`thresholds` use those instead, for each image its own.",
    ]


def resolution_sections(resolution_table, comparison_table):
    """The part of a card about resolutions.

    Args:
        resolution_table, comparison_table: rows of the run's `resolutions.csv` and
            `comparison.csv`, dictionaries of text.
    """
    rows = [
        (
            row["resolution"],
            _millions(row["macs"]),
            _percent(row["accuracy_percent"]),
            f"{100 * float(row['router_share']):.1f} %",
        )
        for row in resolution_table
    ]
    chosen = next(row for row in comparison_table if row["choice"] == "router")
    return [
        "## Resolutions",
        _table(("resolution", "M MACs", "test accuracy", "chosen for"), rows),
        f"Each image at the resolution chosen for it: {_percent(chosen['accuracy_percent'])} on "
        f"the test images at {_millions(chosen['mean_macs'])} million MACs an image on average, "
        "those of the choice included.",
    ]


def model_card(*, title, config, data, dtype, sections, signatures):
    """The whole card, Markdown.

    Args:
        title: its heading.
        config: what the run's `config.json` holds.
        data: "class_names", "image_shape", "mean", "std", "center_crop" and "picture_reading"
            of the run's data.
        dtype: of the exported weights.
        sections: paragraphs of `exit_sections` or `resolution_sections`.
        signatures: those of the loaded SavedModel, by name.
    """
    height, width, channels = data["image_shape"]
    reading = (
        "turned as the camera was held, with white for what is seen through"
        if data["picture_reading"] == AS_SEEN
        else "as they are stored: a note of how the camera was held is not looked at"
    )
    seen = "its centre is cut out" if data["center_crop"] else "all of it is seen"
    arithmetic = "Batch normalisation is folded into the convolutions."
    if dtype != "float32":
        arithmetic += f" Weights are {dtype}; accuracies are those of the float32 network."
    settings = [
        (f"`{name}`", f"`{value}`")
        for name, value in config.items()
        if name not in _NOT_TRAINING and value is not None
    ]
    versions = ", ".join(f"{name} {number}" for name, number in config.get("versions", {}).items())
    paragraphs = [
        f"# {title}",
        f"A classifier of {len(data['class_names'])} classes, trained on "
        f"`{config['dataset']}`. {arithmetic}",
        *sections,
        "## Images",
        f"An image of any size up to {MAX_PIXELS:,} pixels with {channels} channel"
        f"{'s' if channels > 1 else ''} is resized to {height}×{width} ({seen}) and normalised by "
        f"mean {data['mean']} and standard deviation {data['std']} of pixels in [0, 1], inside the "
        f"model. Files ({PICTURE_KINDS}) are read {reading}.",
        "## Signatures",
        _table(
            ("signature", "takes", "gives"),
            [
                (
                    f"`{name}`",
                    _tensors(function.structured_input_signature[1]),
                    _tensors(function.structured_outputs),
                )
                for name, function in signatures.items()
            ],
        ),
        "## How it was trained",
        _table(("setting", "value"), settings),
        *([_sizes(config["sizes"])] if "sizes" in config else []),
        f"Versions: {versions}.",
    ]
    return "\n\n".join(paragraphs) + "\n"


def _table(heading, rows):
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _sizes(sizes):
    return f"Images: {', '.join(f'{count:,} for {split}' for split, count in sizes.items())}."


def _tensors(specs):
    return "<br>".join(
        f"`{name}` {spec.dtype.name} {_shape(spec.shape)}" for name, spec in sorted(specs.items())
    )


def _shape(shape):
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"


def _millions(text):
    return f"{int(text) / _MILLION:.2f}"


def _percent(text):
    return f"{float(text):.2f} %"
