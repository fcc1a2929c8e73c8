"""Finished runs as files that `tf_adaptive.load_weights` finds by their names."""

import contextlib
import json
import pathlib
import re
import shutil
import zipfile

import numpy as np

from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.files import sha256_of
from tf_adaptive.runs.directory import finish_run
from tf_adaptive.runs.evaluate import evaluate
from tf_adaptive.runs.released import INDEX_FILE, file_of
from tf_adaptive.runs.run import Run

from .output_folder import check_replaceable, folder_replaced_whole
from .serving.model_card import exit_sections, resolution_sections, table, whole_card

# The most that accuracies on the test images may differ from the run's, in points.
MOST_POINTS = {"float32": 0.0, "float16": 0.1}
MAX_BYTES = 10_000_000

_MODEL, _CONFIG, _CARD, _LICENSE = "model.keras", "config.json", "model_card.md", "LICENSE"
_DROPS = (0.0, 0.5, 1.0, 2.0, 5.0)
_MILLION = 1e6


def write_release(run_dirs, names, output, *, license_file, dtype="float32", data_dir=None):
    """Writes a zip file of each finished run and the index of all, whole or not at all.

    A file holds a run: its network, settings and tables, with a model card and a licence. The
    tables are of the network that is in the file, evaluated anew.

    Args:
        run_dirs: directories of finished runs with reports.
        names: what `load_weights` is to find them by: small letters, digits and "_".
        output: the folder: new, empty, or one that this function wrote, which is replaced.
        license_file: file with the licence of the weights.
        dtype: what kernels are rounded to, "float32" or "float16"; arithmetic stays float32, but
            the files become smaller.
        data_dir: where TFDS keeps data sets; None for where the runs had them.

    Returns:
        A list of dictionaries, one for each network: "name"; "bytes" of its file;
        "accuracy_percent" of its last exit, or of the chosen resolutions; "points", by which the
        accuracy that differs most from the run's does; and "point", `OperatingPoint` or
        `RoutingPoint`.

    Raises:
        InputError: other than one name for each run, a name that is none, no licence, no finished
            run or one without a report, data that cannot be had, accuracies that differ from the
            run's by more than `MOST_POINTS`, a file of more than `MAX_BYTES`, or an `output` that
            holds something else.
    """
    check_choice("dtype", dtype, MOST_POINTS)
    _check_names(run_dirs, names)
    check_output(output)
    if not pathlib.Path(license_file).is_file():
        raise InputError(f"`license_file` must be a file. Received: license_file={license_file}.")
    runs = [Run(run_dir) for run_dir in run_dirs]
    for run in runs:
        run.report()
    with folder_replaced_whole(output, check=check_output) as folder:
        written = []
        for run, name in zip(runs, names, strict=True):
            parts = folder / name
            parts.mkdir()
            shutil.copyfile(license_file, parts / _LICENSE)
            row = _write_run(run, name, parts, dtype, data_dir)
            path = folder / file_of(name)
            _write_zip(parts, path)
            shutil.rmtree(parts)
            _check_size(path)
            written.append({"name": name, "bytes": path.stat().st_size, **row})
        index = {
            row["name"]: {
                "bytes": row["bytes"],
                "sha256": sha256_of(folder / file_of(row["name"])),
            }
            for row in written
        }
        (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return written


def check_output(directory):
    """Refuses an output folder that holds something else than released networks of before."""
    check_replaceable(
        directory,
        program="savedmodels.write_weights",
        marker=INDEX_FILE,
        is_ours=lambda name: name == INDEX_FILE or name.endswith(".zip"),
    )


def _check_names(run_dirs, names):
    if len(names) != len(run_dirs) or len(set(names)) != len(names):
        raise InputError(
            f"`names` must be as many as `run_dirs`, {len(run_dirs)}, and all different. "
            f"Received: names={','.join(names)}."
        )
    for name in names:
        if not re.fullmatch("[a-z0-9_]+", name):
            raise InputError(
                "`names` must be of small letters, digits and '_', as msdnet_fashion_mnist. "
                f"Received: {name!r}."
            )


def _write_run(run, name, parts, dtype, data_dir):
    """Makes a run of the network that is released, and says what became of it."""
    if dtype == "float32":
        shutil.copyfile(run.run_dir / _MODEL, parts / _MODEL)
    else:
        _round_kernels(run.model, run.run_dir)
        finish_run(parts, run.model)
    data = run.description(data_dir=data_dir)
    config = {**_without_places(run.config), **data, "run_dir": name, "data_dir": None}
    (parts / _CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(run.run_dir / "history.csv", parts / "history.csv")

    released = Run(parts)
    dataset = run.dataset(data_dir=data_dir)
    report = run.report()
    evaluated = evaluate(
        released.model, dataset, measure="max_probability" if run.routes else report.measure
    )
    evaluated.write(parts / "report")
    points = _most_points(run, released)
    allowed = MOST_POINTS[dtype]
    if dtype != "float32":
        allowed = max(allowed, 100 / dataset.sizes["test"])
    # Tables have four digits.
    if points > allowed + 1e-4:
        raise InputError(
            f"The network of {run.run_dir} in {dtype} must be as accurate as its report says, to "
            f"{allowed:.2g} points: run trainers.evaluate again if the report is of another "
            f"machine, or choose another dtype. Received: {points:.2f} points."
        )
    point = released.operating_point()
    sections = (
        resolution_sections(released.report()[0], point)
        if run.routes
        else [*exit_sections(released.report().anytime, point), *_other_points(released)]
    )
    card = whole_card(
        title=name,
        config=config,
        data=data,
        about=_about(dtype, points, dataset.sizes["test"]),
        sections=sections,
        normalised="which `run.preprocess` does",
        use=["## Use", _use(name, run.routes)],
    )
    (parts / _CARD).write_text(card, encoding="utf-8")
    return {"accuracy_percent": _accuracies(released)[-1], "points": points, "point": point}


def _round_kernels(model, run_dir):
    """Rounds what has several axes; scales, offsets and statistics are few, and stay."""
    for weight in model.weights:
        if len(weight.shape) > 1:
            rounded = np.asarray(weight).astype("float16").astype("float32")
            if not np.isfinite(rounded).all():
                raise InputError(
                    "`dtype` must be float32 for weights that float16 has no numbers for. "
                    f"Received: dtype='float16' for {run_dir}, whose {weight.path} has such."
                )
            weight.assign(rounded)


def _without_places(config):
    """Settings whose paths are cut to their last part, as nobody else has the rest."""

    def cut(value):
        kind, separator, path = value.rpartition(":")
        if not path.startswith(("/", "~")):
            return value
        return kind + separator + pathlib.PurePath(path).name

    return {name: cut(value) if isinstance(value, str) else value for name, value in config.items()}


def _accuracies(run):
    """Those on the test images: of each exit, or of each resolution and of the chosen ones."""
    if not run.routes:
        return [row.accuracy_percent for row in run.report().anytime]
    rows, point = run.report()
    return [*(row.accuracy_percent for row in rows), point.accuracy_percent]


def _most_points(run, released):
    pairs = zip(_accuracies(run), _accuracies(released), strict=True)
    return max(abs(before - now) for before, now in pairs)


def _about(dtype, points, images):
    text = "Its licence is the file LICENSE beside. "
    if dtype == "float32":
        return text + (
            f"Weights are those of the training to the bit; on the {images:,} test images the "
            "accuracies are too."
        )
    return text + (
        "Kernels are rounded to float16, and all that is told below is of the network with these. "
        f"On the {images:,} test images no accuracy differs from that before by more than "
        f"{points:.2f} points. Weights and arithmetic are float32 once it is loaded."
    )


def _other_points(run):
    """What other wishes give, for a network with several exits."""
    anytime = run.report().anytime
    if len(anytime) == 1:
        return []
    rows = []
    for drop in _DROPS:
        # Not every network keeps the last exit's accuracy.
        with contextlib.suppress(InputError):
            point = run.operating_point(accuracy_drop=drop)
            rows.append(
                (
                    f"`accuracy_drop={drop:g}`",
                    f"{point.accuracy_percent:.2f} %",
                    f"{point.mean_macs / _MILLION:.2f}",
                    f"{100 * point.mean_macs / anytime[-1].macs:.0f} %",
                )
            )
    return [
        "## Operating points",
        "`run.operating_point(…)` gives thresholds for other wishes. `accuracy_drop` is of the "
        "calibration images, in points; what follows was measured on the test images.",
        table(("wish", "accuracy", "M MACs an image", "of the whole network's"), rows),
    ]


def _use(name, routes):
    of_it = "resolution" if routes else "exit"
    return (
        f"With the folder of this file, or its address, in TF_ADAPTIVE_WEIGHTS:\n\n"
        "```python\nimport tf_adaptive as ta\n\n"
        f'run = ta.load_weights("{name}")\n'
        "fast = run.executor()\n"
        "answer = fast(run.preprocess(uint8_images))  # (batch, height, width, channels)\n"
        f'answer["class"], answer["confidence"], answer["{of_it}"]\n```\n\n'
        "`run.run_dir` is what programs take as `--run_dir`."
    )


def _write_zip(folder, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in sorted(folder.rglob("*")):
            # Figures are large, and made again by trainers.evaluate.
            if file.is_file() and file.suffix not in (".png", ".html"):
                archive.write(file, file.relative_to(folder).as_posix())


def _check_size(path):
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InputError(
            f"Released files must be of at most {MAX_BYTES / _MILLION:g} MB: choose dtype=float16, "
            f"or a smaller network. Received: {path.name} of {size / _MILLION:.1f} MB."
        )
