"""What a network reaches, and the report that training and evaluation both end with."""

import pathlib
import tempfile

import numpy as np

from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.exits.costs import profile
from tf_adaptive.exits.latency import latency_rows
from tf_adaptive.exits.operating_point import OperatingPoint, check_no_operating_point
from tf_adaptive.exits.report import evaluate_exits
from tf_adaptive.exits.static_comparison import (
    WITHIN_NOISE,
    Classified,
    adaptive_curve,
    compare,
)
from tf_adaptive.exits.thresholds import MEASURES
from tf_adaptive.files import UNFINISHED
from tf_adaptive.models.drnet import is_routed
from tf_adaptive.programs.progress_bar import with_bar
from tf_adaptive.reports.files import put_in_place
from tf_adaptive.reports.logits import accuracy_interval, collect_logits
from tf_adaptive.routing.costs import branch_costs
from tf_adaptive.routing.report import evaluate_routing
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import load_finished_run
from tf_adaptive.runs.latency_report import (
    LATENCY_FIGURE,
    report_latency,
    timed_exits,
    timed_static,
)
from tf_adaptive.runs.own_pictures import own_pictures
from tf_adaptive.runs.routing_report import print_routing_report
from tf_adaptive.runs.sparsity_report import report_sparsity
from tf_adaptive.runs.static_report import COMPARISON_TABLE, VERDICT_FILE, report_static_runs
from tf_adaptive.runs.tables import LATENCY_TABLE, read_csv, read_report


def report_run(
    run_dir,
    *,
    dataset=None,
    measure="max_probability",
    batch_size=256,
    data_dir=None,
    static_runs=(),
    latency=None,
    latency_csv=None,
    runs_in_litert=None,
    calibrate_on=None,
    other_runs=(),
):
    """Evaluates a finished run, writes its `report/` and prints what it reached.

    Of a network with exits each of them and, of several, a budget; of a DRNet the resolutions,
    what is chosen and what a random choice reaches; of a pruned network its zeros too.

    Args:
        run_dir: directory of a finished run.
        dataset: the `ImageDataset` of a run that was trained just now; None reads it as the run's
            settings say.
        measure: confidence of `tf_adaptive.exits.thresholds.confidence_scores`; a DRNet has none.
        batch_size: images in a batch.
        data_dir: where TFDS keeps data sets; None for where the run had them.
        static_runs: directories of finished runs of networks with one exit on the same data, which
            early exit is compared with.
        latency: `Latency`, how times are measured too; None for not at all. Those of a DRNet are in
            its report anyway.
        latency_csv: a table of times that were measured elsewhere, see `latency_rows`.
        runs_in_litert: what runs a network in LiteRT, `savedmodels.tflite.timing.runs_in_litert`,
            where `latency` asks for that.
        calibrate_on: "folder:PATH" of pictures to choose thresholds on, in place of the calibration
            images; see `own_pictures`. A DRNet has none.
        other_runs: directories of runs of networks with exits on the same data, whose reports'
            budgets `report.html` shows too.

    Raises:
        InputError: the run is not finished or damaged, its data cannot be had, an unknown
            `measure`, a `batch_size` below 1, or static runs that cannot be compared with it.
    """
    check_choice("measure", measure, MEASURES)
    check_whole("batch_size", batch_size, least=1)
    _check_latency(latency, latency_csv, static_runs)
    config, model = load_finished_run(run_dir)
    if dataset is None:
        dataset = load_run_dataset(config, data_dir=data_dir)
    if static_runs and (is_routed(model) or len(model.outputs) == 1):
        raise InputError(
            "`run_dir` must be the run of a network with several exits to be compared with "
            f"`static_runs`. Received: {run_dir}."
        )
    static = [
        _load_static_run(static_run, config, dataset, data_dir=data_dir)
        for static_run in static_runs
    ]
    if calibrate_on is not None and is_routed(model):
        check_no_operating_point(calibrate_on=calibrate_on)
    if is_routed(model):
        _report_routing(run_dir, model, dataset, batch_size=batch_size)
    else:
        _report_exits(
            run_dir,
            model,
            dataset,
            measure=measure,
            batch_size=batch_size,
            static=_names(static_runs, static),
            latency=latency,
            latency_csv=latency_csv,
            runs_in_litert=runs_in_litert,
            calibrate_on=calibrate_on,
            other_runs=[_budget_points(other) for other in other_runs],
        )
    if config.get("prune_to") is not None:
        report_sparsity(run_dir, model)


def report_if_finished(run_dir, *, resume):
    """Whether a run to resume had ended but for its report, which it has then.

    A training may be killed between its network and its report, or within that.

    Args:
        run_dir: directory of a run, or of one to come.
        resume: whether it is to be resumed.

    Raises:
        InputError: what `report_run` raises.
    """
    run_dir = pathlib.Path(run_dir)
    if not resume or has_report(run_dir) or not (run_dir / "model.keras").exists():
        return False
    print(f"{run_dir} is finished but for its report, which is written now.")
    report_run(run_dir)
    return True


def has_report(run_dir):
    """Whether a run has a report, and a whole one.

    Args:
        run_dir: `pathlib.Path`.
    """
    report = run_dir / "report"
    return any(report.glob("*.csv")) and not any(report.glob(f"{UNFINISHED}*"))


def evaluate(model, dataset, *, measure="max_probability", batch_size=256, calibrate_on=None):
    """What a network reaches on a data set: at each exit and budget, or resolution.

    Args:
        model: functional `keras.Model` with K exits, or `tf_adaptive.DRNet`.
        dataset: `ImageDataset`, whose images the model takes.
        measure: confidence of `confidence_scores`; a DRNet has none.
        batch_size: images in a batch.
        calibrate_on: see `report_run`.

    Returns:
        `ExitReport` or `RoutingReport`; `.write(folder)` writes its tables and figures.

    Raises:
        InputError: an unknown `measure`, a `batch_size` below 1, or what the reports refuse.

    Example:
        >>> report = ta.evaluate(model, data)
        >>> [row.exit for row in report.anytime]
        [1, 2, 3, 4]
        >>> report.operating_point().measure
        'max_probability'
    """
    check_choice("measure", measure, MEASURES)
    check_whole("batch_size", batch_size, least=1)

    def shown(batches, split):
        return with_bar(batches, dataset.sizes[split], batch_size, f"{split} images")

    if is_routed(model):
        return evaluate_routing(model, dataset, batch_size=batch_size, shown=shown)
    pictures = None if calibrate_on is None else own_pictures(calibrate_on, dataset, batch_size)
    return evaluate_exits(
        model,
        dataset,
        measure=measure,
        batch_size=batch_size,
        shown=shown,
        own_pictures=pictures,
    )


def _report_routing(run_dir, model, dataset, *, batch_size):
    """Evaluates a DRNet, writes its report, and prints the resolutions and the choice."""
    report = evaluate(model, dataset, batch_size=batch_size)
    directory = pathlib.Path(run_dir) / "report"
    report.write(directory)
    print_routing_report(report, branch_costs(model).predictor_macs, dataset.sizes["test"])
    print(f"Tables and figures: {directory}")


def _report_exits(
    run_dir,
    model,
    dataset,
    *,
    measure,
    batch_size,
    static,
    latency,
    latency_csv,
    runs_in_litert,
    calibrate_on,
    other_runs,
):
    """Evaluates a network with exits, writes its report and prints exits and a budget.

    Args:
        static: dictionary from a name to the `(model, dataset)` of a static network.
        other_runs: see `report_page`.
        run_dir, measure, batch_size, latency, latency_csv, runs_in_litert, calibrate_on: see
            `report_run`.
    """
    report = evaluate(
        model, dataset, measure=measure, batch_size=batch_size, calibrate_on=calibrate_on
    )
    elsewhere = None if latency_csv is None else _times_elsewhere(latency_csv, report.anytime)
    classified = [
        _classify(name, *network, report.test_labels, batch_size)
        for name, network in static.items()
    ]
    directory = pathlib.Path(run_dir) / "report"
    report.write(directory)
    _print_exits(report)
    # What a former report had and this one is not asked for.
    for name in (COMPARISON_TABLE, VERDICT_FILE, LATENCY_TABLE, LATENCY_FIGURE):
        (directory / name).unlink(missing_ok=True)
    near = report.near_last_exit
    if static:
        report_static_runs(
            directory, classified, _curve(report), report.anytime, report.budgets, near
        )
    if elsewhere is not None:
        put_in_place(directory, {LATENCY_TABLE: elsewhere}, {})
    if latency is not None:
        point = OperatingPoint(
            np.array(near.thresholds, "float32"), measure, "", report.temperatures
        )
        with tempfile.TemporaryDirectory() as folder:
            runs = None
            if latency.engine == "litert":
                runs = runs_in_litert(model, point, dataset, folder, threads=latency.threads)
            timed = timed_exits(model, dataset, report.anytime, point, near.accuracy_percent, runs)
            timed += [
                timed_static(*network, network_classified)
                for network, network_classified in zip(static.values(), classified, strict=True)
            ]
            report_latency(directory, timed, latency)
        elsewhere = read_csv(directory / LATENCY_TABLE)
    if elsewhere is not None:
        report.latencies = latency_rows(elsewhere, report.anytime)
    if len(report.anytime) > 1 and (static or other_runs or report.latencies is not None):
        points = [(each.name, each.macs, each.accuracy_percent) for each in classified]
        report.write_page(directory, static=points, others=other_runs)
    what = "Tables and figures" if len(report.anytime) > 1 else "Tables"
    print(f"{what}: {directory}")


def _budget_points(run_dir):
    """The name of another run, and cost and accuracy of its report's budgets."""
    table = read_report(run_dir, "budgeted")
    points = [(int(row["mean_macs"]), float(row["accuracy_percent"])) for row in table]
    return pathlib.Path(run_dir).resolve().name, points


def _check_latency(latency, latency_csv, static_runs):
    if latency is None:
        return
    if latency_csv is not None:
        raise InputError("One of `latency` and `latency_csv` must be given. Received: both.")
    if static_runs and latency.engine == "litert":
        raise InputError(
            "`latency` must have engine=tensorflow with `static_runs`, which are not converted. "
            "Received: engine=litert."
        )


def _times_elsewhere(latency_csv, anytime_rows):
    """The rows of a table of times, of this network."""
    path = pathlib.Path(latency_csv)
    if not path.is_file():
        raise InputError(f"`latency_csv` must be a file. Received: {latency_csv}.")
    table = read_csv(path)
    latency_rows(table, anytime_rows)
    return table


def _print_exits(report):
    """Prints each exit and, of several, the budget near the last one's accuracy."""
    samples = len(report.test_labels)
    counts = [f"{images:,} {split}" for split, images in report.sizes.items() if images]
    print(f"\nImages: {', '.join(counts)}.")
    if not report.sizes["calibration"]:
        print("There are no calibration images: those of validation choose the thresholds too.")
    print(
        f"\n{'exit':>4} {'M MACs':>9} {'lazy':>9} {'M parameters':>13} {'test accuracy':>14}"
        f"   95 % interval, {samples:,} images"
    )
    for row in report.anytime:
        low, high = accuracy_interval(row.accuracy_percent, samples)
        print(
            f"{row.exit:>4} {row.macs / 1e6:>9.2f} {row.lazy_macs / 1e6:>9.2f} "
            f"{row.parameters / 1e6:>13.2f} {row.accuracy_percent:>12.2f} % "
            f"{low:>8.2f} to {high:.2f}"
        )
    if len(report.anytime) == 1:
        return
    last, near = report.anytime[-1], report.near_last_exit
    early = next(point for point in _curve(report) if point.macs == near.mean_macs)
    right = report.test_logits[-1].argmax(axis=-1) == report.test_labels
    comparison = compare(Classified("last exit", last.macs, right), early)
    noise = ", within noise" if comparison.verdict == WITHIN_NOISE else ""
    print(
        f"\nWith early exit, {near.accuracy_percent:.2f} % at "
        f"{near.mean_macs / 1e6:.2f} M MACs an image: "
        f"{100 * near.mean_macs / last.macs:.0f} % of the whole network's. Against the last "
        f"exit {comparison.difference_points:+.2f} points (95 % interval "
        f"{comparison.low_points:+.2f} to {comparison.high_points:+.2f}{noise}). Its thresholds "
        f"were chosen on the {report.calibrated_on}."
    )


def _curve(report):
    return adaptive_curve(
        report.test_logits,
        report.test_labels,
        report.costs,
        report.budgets,
        report.measure,
        report.temperatures,
    )


def _load_static_run(run_dir, config, dataset, *, data_dir):
    """The `(model, dataset)` of a run that a run of such settings and data is compared with.

    Raises:
        InputError: what `load_finished_run` raises; a network with several exits or a DRNet; other
            data.
    """
    static_config, model = load_finished_run(run_dir)
    if is_routed(model) or len(model.outputs) != 1:
        raise InputError(
            "`static_runs` must be runs of networks with one exit, as trainers.train_static gives. "
            f"Received: {run_dir}, whose network has more."
        )
    static_dataset = load_run_dataset(static_config, data_dir=data_dir)
    for what, ours, theirs in (
        ("data set", config["dataset"], static_config["dataset"]),
        ("classes", dataset.class_names, static_dataset.class_names),
        ("number of test images", dataset.sizes["test"], static_dataset.sizes["test"]),
    ):
        if ours != theirs:
            raise InputError(
                f"`static_runs` must be runs on the same data, with the same {what}. "
                f"Received: {run_dir}, with {theirs!r} where the run has {ours!r}."
            )
    return model, static_dataset


def _names(static_runs, networks):
    """The networks by the names of their runs' folders, whole where two have the same."""
    paths = [pathlib.Path(run) for run in static_runs]
    names = [path.resolve().name for path in paths]
    names = [
        str(path) if names.count(name) > 1 else name
        for path, name in zip(paths, names, strict=True)
    ]
    return dict(zip(names, networks, strict=True))


def _classify(name, model, dataset, labels, batch_size):
    """Which of the test images a static network gets right, a `Classified`."""
    batches = with_bar(
        dataset.batches("test", batch_size), dataset.sizes["test"], batch_size, "test images"
    )
    logits, static_labels = collect_logits(model, batches)
    if not np.array_equal(static_labels, labels):
        raise InputError(
            "`static_runs` must be runs on the same test images in the same order. "
            f"Received: {name}, whose test images have other classes."
        )
    (cost,) = profile(model)
    return Classified(name, cost.macs, logits[0].argmax(axis=-1) == labels)
