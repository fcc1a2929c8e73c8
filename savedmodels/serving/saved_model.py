"""A network as SavedModels with everything that serves and explains it."""

import tensorflow as tf

from tf_adaptive.compression.folding import fold_batch_norm, fold_drnet
from tf_adaptive.data.preprocessing import Preprocessing
from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.exits.costs import profile
from tf_adaptive.exits.early_exit import EarlyExit
from tf_adaptive.exits.evaluation import AnytimeRow
from tf_adaptive.routing.costs import branch_costs
from tf_adaptive.routing.dispatch import Routing
from tf_adaptive.routing.evaluation import ResolutionRow
from tf_adaptive.routing.operating_point import RoutingPoint
from tf_adaptive.runs.run import Run

from ..description import FILES_FIELD, check_described, described_files, write_description
from .archive import write_saved_model
from .exit_signatures import exit_signatures
from .model_card import exit_sections, model_card, resolution_sections
from .model_folder import EXTRA_ASSETS, SAVED_MODEL, new_version
from .resolution_signatures import resolution_signatures
from .triton import write_models
from .warmup import write_warmup_requests

DTYPES = ("float32", "bfloat16")
SERVERS = ("tf_serving", "triton")


def export_model(
    executor,
    description,
    output,
    *,
    name="model",
    version=None,
    dtype="float32",
    server="tf_serving",
):
    """Writes `OUTPUT/NAME/VERSION/` of a network as it is used, whole or not at all.

    Batch norms are folded, and weights are constants of the graph.

    Args:
        executor: `EarlyExit` or `Routing`.
        description: what `ImageDataset.description` gives of the data it was trained on.
        output, name, version: see `savedmodels.serving.model_folder.new_version`.
        dtype: "float32" or "bfloat16".
        server: "tf_serving"; or "triton", NVIDIA's, for a network with exits in float32: then
            `output` is its model repository, see `savedmodels.serving.triton`.

    Returns:
        `(name, version)`.

    Raises:
        InputError: a description that is not of such a network, an `output` that is not such a
            folder, or a network that is not for such a server.

    Example:
        >>> fast = ta.EarlyExit(model, [0.9, 0.8, 0.7])
        >>> savedmodels.export_model(fast, data.description(), "served", name="digits")
        ('digits', 1)
    """
    _check_server(server, dtype, routes=isinstance(executor, Routing))
    if isinstance(executor, Routing):
        costs = branch_costs(executor.model)
        rows = [
            ResolutionRow(resolution, macs, accuracy_percent=None, share=None)
            for resolution, macs in zip(costs.resolutions, costs.branch_macs, strict=True)
        ]
        networks = fold_drnet(executor.model, dtype=_policy(dtype))
        folded = Routing(executor.model, networks=networks, constant_weights=True)
        point = RoutingPoint(executor.resolutions)
    else:
        rows = [
            AnytimeRow(cost.exit, cost.macs, cost.lazy_macs, cost.parameters, None)
            for cost in profile(executor.model)
        ]
        point = executor.point
        network = fold_batch_norm(executor.model, dtype=_policy(dtype))
        folded = EarlyExit(network, point, constant_weights=True)
    data = check_described(description, _num_classes(executor))
    return _write(folded, rows, point, data, {}, output, name, version, dtype, server)


def export_run(
    run_dir,
    output,
    *,
    name=None,
    version=None,
    dtype="float32",
    server="tf_serving",
    data_dir=None,
    **choice,
):
    """Writes `OUTPUT/NAME/VERSION/` of a finished run, whole or not at all.

    Args:
        run_dir: directory of a finished run with a report.
        output, name, version: see `savedmodels.serving.model_folder.new_version`; a name of None
            is that of the run's folder.
        dtype, server: see `export_model`.
        data_dir: where TFDS keeps data sets; None for where the run had them.
        **choice: see `Run.operating_point`.

    Returns:
        `(name, version)`.

    Raises:
        InputError: an unfinished run or one without a report, thresholds that do not fit, an
            `output` that is not such a folder, or a network that is not for such a server.
    """
    run = Run(run_dir)
    _check_server(server, dtype, routes=run.routes)
    point = run.operating_point(**choice)
    rows = run.report()[0] if run.routes else run.report().anytime
    data = run.description(data_dir=data_dir)
    executor = run.executor(None if run.routes else point, dtype=_policy(dtype))
    name = name or run.run_dir.resolve().name
    return _write(executor, rows, point, data, run.config, output, name, version, dtype, server)


def _write(executor, rows, point, data, config, output, name, version, dtype, server):
    """Writes what `export_model` does of networks that are folded, and what is known of them.

    Args:
        rows: `AnytimeRow`s or `ResolutionRow`s, for the model card.
        point: `OperatingPoint` or `RoutingPoint`.
        data: what `describe_data` gives.
        config: settings of the run, for the model card; empty where there was none.
    """
    parts, costs = (resolution_signatures, resolution_sections), {}
    if isinstance(executor, EarlyExit):
        parts = (exit_signatures, exit_sections)
        costs = {"exit_macs": [row.macs for row in rows]}
    signatures_of, sections_of = parts

    def describe(version):
        named = {"name": name, "version": version, "dtype": dtype}
        return {**named, **point.description(), **costs, **data}

    def card(version, signatures):
        return model_card(
            title=f"{name}, version {version}",
            config=config,
            data=data,
            dtype=dtype,
            sections=sections_of(rows, point),
            signatures=signatures,
        )

    preprocessing = Preprocessing.of(data)
    if server == "triton":
        return write_models(
            executor, preprocessing, describe, card, output, name=name, version=version
        )
    signatures = signatures_of(executor, preprocessing, data["class_names"])
    with new_version(output, name, version) as (folder, version):
        write_saved_model(folder, signatures)
        loaded = tf.saved_model.load(str(folder)).signatures
        write_warmup_requests(folder, name, loaded, data["image_shape"])
        (folder / EXTRA_ASSETS / "labels.txt").write_text(
            "".join(f"{label}\n" for label in data["class_names"]), encoding="utf-8"
        )
        # TensorFlow has checksums of variables, and none of constants.
        described = {FILES_FIELD: described_files(folder, [SAVED_MODEL])}
        write_description(folder / EXTRA_ASSETS, {**describe(version), **described})
        (folder / "model_card.md").write_text(card(version, loaded), encoding="utf-8")
    return name, version


def _check_server(server, dtype, *, routes):
    check_choice("dtype", dtype, DTYPES)
    check_choice("server", server, SERVERS)
    if server == "triton" and dtype != "float32":
        raise InputError(
            "`dtype` must be float32 for Triton, whose Python models have no bfloat16. "
            f"Received: dtype={dtype!r}."
        )
    if server == "triton" and routes:
        raise InputError(
            "`server` must be tf_serving for a DRNet: for Triton are networks with exits. "
            f"Received: server={server!r}."
        )


def _policy(dtype):
    """The dtype policy of folded networks; weights stay float32 in a network that is."""
    return None if dtype == "float32" else dtype


def _num_classes(executor):
    model = executor.branches[0] if isinstance(executor, Routing) else executor.model
    return model.outputs[0].shape[-1]
