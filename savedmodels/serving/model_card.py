"""`model_card.md`: what a network is, what it costs, and how it was trained."""

from tf_adaptive.exits.thresholds import NEVER
from tf_adaptive.pictures import AS_SEEN, MAX_PIXELS, PICTURE_KINDS

_MILLION = 1e6
_NOT_MEASURED = "not measured"
_OTHER_THRESHOLDS = (
    "Signatures that take `thresholds` use those instead of the model's, for each image its own, "
    "above 1 for an exit that it is not to leave at; those that take `enabled_exits` let it leave "
    "at these alone, and at the last."
)
# Settings that say where a run was, and not what it is.
_NOT_TRAINING = {
    *("run_dir", "data_dir", "resume", "stage_1_from", "checkpoint_seconds", "versions"),
    *("class_names", "image_shape", "mean", "std", "center_crop", "sizes", "dataset"),
}


def exit_sections(anytime_rows, point):
    """The part of a card about exits and thresholds.

    Args:
        anytime_rows: a list of `AnytimeRow`; accuracies may be None.
        point: `OperatingPoint`.
    """
    if len(anytime_rows) == 1:
        (row,) = anytime_rows
        return [
            "## Cost and accuracy",
            f"One exit: {_millions(row.macs)} million MACs an image, "
            f"{_millions(row.parameters)} million parameters, "
            f"{_percent(row.accuracy_percent)} on the test images. The confidence is "
            f"`{point.measure}`.",
            *_of_probabilities(point),
        ]
    rows = [
        (
            row.exit,
            _millions(row.macs),
            _millions(row.lazy_macs),
            _millions(row.parameters),
            _percent(row.accuracy_percent),
            threshold,
        )
        for row, threshold in zip(
            anytime_rows,
            [
                *(
                    _in_words(threshold, number in point.enabled_exits)
                    for number, threshold in enumerate(point.thresholds, start=1)
                ),
                "takes the rest",
            ],
            strict=True,
        )
    ]
    if point.accuracy_percent is None:
        measured = "Neither accuracy nor cost was measured at them."
    else:
        measured = (
            f"On the test images that gave {point.accuracy_percent:.2f} % at "
            f"{point.mean_macs / _MILLION:.2f} million MACs an image on average, "
            f"{100 * point.mean_macs / anytime_rows[-1].macs:.0f} % of the whole network's."
        )
        if point.mean_ms is not None:
            measured += (
                f" By the report's times an image took {point.mean_ms:.3g} ms on average, and 95 % "
                f"of them at most {point.percentile_95_ms:.3g} ms."
            )
    return [
        "## Exits",
        table(
            ("exit", "M MACs", "computed in stages", "M parameters", "test accuracy", "threshold"),
            rows,
        ),
        f"An image leaves at the first exit whose confidence (`{point.measure}`) is at least its "
        f"threshold. The thresholds are {point.chosen}. {measured}",
        *_of_probabilities(point),
    ]


def _in_words(threshold, is_on):
    if not is_on:
        return "off"
    return "none leave" if threshold == NEVER else str(threshold)


def _of_probabilities(point):
    """What the card says of temperatures and of a promise."""
    paragraphs = []
    if point.temperatures is not None:
        numbers = ", ".join(f"{temperature:.3g}" for temperature in point.temperatures)
        paragraphs.append(
            "Logits are divided by a temperature before confidence and probabilities, at each "
            f"exit its own: {numbers}."
        )
    if point.promise is not None:
        paragraphs.append(point.promise.words())
    return paragraphs


def resolution_sections(resolution_rows, point):
    """The part of a card about resolutions.

    Args:
        resolution_rows: a list of `ResolutionRow`; accuracies and shares may be None.
        point: `RoutingPoint`.
    """
    rows = [
        (
            row.resolution,
            _millions(row.macs),
            _percent(row.accuracy_percent),
            _NOT_MEASURED if row.share is None else f"{100 * row.share:.1f} %",
        )
        for row in resolution_rows
    ]
    chosen = "Accuracy and cost at the chosen resolutions were not measured."
    if point.accuracy_percent is not None:
        chosen = (
            f"Each image at the resolution chosen for it: {_percent(point.accuracy_percent)} on "
            f"the test images at {_millions(point.mean_macs)} million MACs an image on average, "
            "those of the choice included."
        )
    return [
        "## Resolutions",
        table(("resolution", "M MACs", "test accuracy", "chosen for"), rows),
        chosen,
    ]


def model_card(*, title, config, data, dtype, sections, signatures):
    """The card of a SavedModel, Markdown.

    Args:
        title: its heading.
        config: what the run's `config.json` holds.
        data: "class_names", "image_shape", "mean", "std", "center_crop" and "picture_reading"
            of the run's data.
        dtype: of the exported weights.
        sections: paragraphs of `exit_sections` or `resolution_sections`.
        signatures: those of the loaded SavedModel, by name.
    """
    arithmetic = "Batch normalisation is folded into the convolutions."
    if dtype != "float32":
        arithmetic += f" Weights are {dtype}; accuracies are those of the float32 network."
    rows = [
        (
            f"`{name}`",
            _tensors(function.structured_input_signature[1]),
            _tensors(function.structured_outputs),
        )
        for name, function in signatures.items()
    ]
    takes = {
        name for function in signatures.values() for name in function.structured_input_signature[1]
    }
    return whole_card(
        title=title,
        config=config,
        data=data,
        about=arithmetic,
        sections=sections,
        normalised="inside the model",
        use=[
            "## Signatures",
            table(("signature", "takes", "gives"), rows),
            *([_OTHER_THRESHOLDS] if "thresholds" in takes else []),
        ],
    )


def whole_card(*, title, config, data, about, sections, normalised, use):
    """A card, Markdown.

    Args:
        title, config, data, sections: see `model_card`.
        about: what the first paragraph says beside the classes and the data set.
        normalised: where pixels are, in words.
        use: paragraphs on how the network is called.
    """
    height, width, channels = data["image_shape"]
    reading = (
        "turned as the camera was held, with white for what is seen through"
        if data["picture_reading"] == AS_SEEN
        else "as they are stored: a note of how the camera was held is not looked at"
    )
    seen = "its centre is cut out" if data["center_crop"] else "all of it is seen"
    trained_on = f", trained on `{config['dataset']}`" if "dataset" in config else ""
    settings = [
        (f"`{name}`", f"`{value}`")
        for name, value in config.items()
        if name not in _NOT_TRAINING and value is not None
    ]
    versions = ", ".join(f"{name} {number}" for name, number in config.get("versions", {}).items())
    paragraphs = [
        f"# {title}",
        f"A classifier of {len(data['class_names'])} classes{trained_on}. {about}",
        *sections,
        "## Images",
        f"An image of any size up to {MAX_PIXELS:,} pixels with {channels} channel"
        f"{'s' if channels > 1 else ''} is resized to {height}×{width} ({seen}) and normalised by "
        f"mean {data['mean']} and standard deviation {data['std']} of pixels in [0, 1], "
        f"{normalised}. Files ({PICTURE_KINDS}) are read {reading}.",
        *use,
        "## How it was trained",
        table(("setting", "value"), settings),
        *([_sizes(config["sizes"])] if "sizes" in config else []),
        f"Versions: {versions}.",
    ]
    return "\n\n".join(paragraphs) + "\n"


def table(heading, rows):
    """A table, Markdown."""
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


def _millions(macs):
    return f"{macs / _MILLION:.2f}"


def _percent(accuracy):
    return _NOT_MEASURED if accuracy is None else f"{accuracy:.2f} %"
