"""A finished run as a SavedModel with everything that serves and explains it."""

import pathlib

import keras
import tensorflow as tf

from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.errors import check_choice
from tf_adaptive.models.drnet import DRNet
from tf_adaptive.runs.directory import load_finished_run
from tf_adaptive.runs.tables import read_report

from ..description import describe_data, write_description
from ..operating_point import (
    check_no_operating_point,
    choose_operating_point,
    read_exit_report,
)
from ..preprocessing import Preprocessing
from .exit_signatures import exit_signatures
from .model_card import exit_sections, model_card, resolution_sections
from .model_folder import EXTRA_ASSETS, new_version
from .resolution_signatures import fold_drnet, resolution_signatures
from .warmup import write_warmup_requests


def export_run(
    run_dir,
    output,
    *,
    name=None,
    version=None,
    budget_mmacs=None,
    accuracy_drop=None,
    thresholds=None,
    dtype="float32",
    data_dir=None,
):
    """Writes `OUTPUT/NAME/VERSION/` of a finished run, whole or not at all.

    Args:
        run_dir: directory of a finished run with a report.
        output, name, version: see `savedmodels.serving.model_folder.new_version`; a name of None
            is that of the run's folder.
        budget_mmacs, accuracy_drop, thresholds: see
            `savedmodels.operating_point.choose_operating_point`; a DRNet has none of them.
        dtype: "float32" or "bfloat16".
        data_dir: see `savedmodels.description.describe_data`.

    Returns:
        `(name, version)`.

    Raises:
        InputError: an unfinished run or one without a report, thresholds that do not fit, or an
            `output` that is not such a folder.
    """
    check_choice("dtype", dtype, ("float32", "bfloat16"))
    config, model = load_finished_run(run_dir)
    # Weights stay float32 in a network that is.
    policy = None if dtype == "float32" else dtype
    choice = {
        "budget_mmacs": budget_mmacs,
        "accuracy_drop": accuracy_drop,
        "thresholds": thresholds,
    }
    parts = _resolutions if isinstance(model, DRNet) else _exits
    data = describe_data(config, model, data_dir)
    preprocessing = Preprocessing(
        **{setting: value for setting, value in data.items() if setting != "class_names"}
    )
    signatures, sections, description = parts(
        run_dir, model, preprocessing, data["class_names"], choice, policy
    )
    name = name or pathlib.Path(run_dir).resolve().name
    with new_version(output, name, version) as (folder, version):
        _write_saved_model(folder, signatures)
        loaded = tf.saved_model.load(str(folder)).signatures
        write_warmup_requests(folder, name, loaded, data["image_shape"])
        (folder / EXTRA_ASSETS / "labels.txt").write_text(
            "".join(f"{label}\n" for label in data["class_names"]), encoding="utf-8"
        )
        write_description(
            folder / EXTRA_ASSETS,
            {"name": name, "version": version, "dtype": dtype, **description, **data},
        )
        card = model_card(
            title=f"{name}, version {version}",
            config=config,
            data=data,
            dtype=dtype,
            sections=sections,
            signatures=loaded,
        )
        (folder / "model_card.md").write_text(card, encoding="utf-8")
    return name, version


def _exits(run_dir, model, preprocessing, class_names, choice, policy):
    """Signatures, sections of the card, and description of a network with exits."""
    anytime_table, budget_table = read_exit_report(run_dir, len(model.outputs))
    point = choose_operating_point(anytime_table, budget_table, **choice)
    signatures = exit_signatures(
        fold_batch_norm(model, dtype=policy),
        preprocessing,
        point.thresholds,
        class_names,
        measure=point.measure,
    )
    sections = exit_sections(anytime_table, point)
    return signatures, sections, point.description()


def _resolutions(run_dir, model, preprocessing, class_names, choice, policy):
    """Signatures, sections of the card, and description of a DRNet."""
    check_no_operating_point(**choice)
    signatures = resolution_signatures(
        model, fold_drnet(model, dtype=policy), preprocessing, class_names
    )
    sections = resolution_sections(
        read_report(run_dir, "resolutions"), read_report(run_dir, "comparison")
    )
    return signatures, sections, {"resolutions": list(model.resolutions)}


def _write_saved_model(folder, signatures):
    archive = keras.export.ExportArchive()
    for name, (function, input_signature) in signatures.items():
        archive.add_endpoint(name, function, input_signature=input_signature)
    archive.write_out(str(folder), verbose=False)
