"""What a search found, as tables and a figure.

trials.csv   a row per trial
pareto.csv   a row per point: the trials', with whether it is on the Pareto front, and others to
             compare them with
pareto.png   the same as a figure
"""

import csv

from tf_adaptive.files import replaced_whole
from tf_adaptive.tuning.search_plots import accuracy_against_gflops
from tf_adaptive.tuning.trials import FINISHED, best_trial, pareto_front


def write_search_report(run_dir, trials, *, fixed_points, target_gflops=None):
    """Writes `trials.csv`, `pareto.csv` and `pareto.png`, each whole.

    Args:
        run_dir: `pathlib.Path` of the search's directory.
        trials: list of `Trial`, the first with the defaults.
        fixed_points: list of `Point` to compare them with; may be empty.
        target_gflops: mean cost wanted, counted as the points' are; None for none.
    """
    _write(run_dir / "trials.csv", [_trial_row(trial) for trial in trials])
    finished = [trial for trial in trials if trial.status == FINISHED]
    if not finished:
        return
    points = [point for trial in finished for point in trial.points]
    on_front = pareto_front(points)
    owners = [trial.number for trial in finished for _ in trial.points]
    rows = [
        _point_row(point, trial=number, on_front=on)
        for point, number, on in zip(points, owners, on_front, strict=True)
    ]
    _write(run_dir / "pareto.csv", rows + [_point_row(point) for point in fixed_points])
    front = [point for point, on in zip(points, on_front, strict=True) if on]
    figure = accuracy_against_gflops(
        points,
        front,
        defaults=trials[0].points,
        best=best_trial(finished).points,
        fixed=fixed_points,
        target_gflops=target_gflops,
    )
    with replaced_whole(run_dir / "pareto.png") as temporary:
        figure.savefig(temporary, dpi=150)


def _trial_row(trial):
    finished = trial.status == FINISHED
    return {
        "trial": trial.number,
        "status": trial.status,
        "epochs": trial.epochs,
        "continues": "" if trial.continues is None else trial.continues,
        **trial.values,
        "accuracy_percent": trial.accuracy_percent if finished else "",
        "mean_gflops": trial.mean_gflops if finished else "",
        "objective": trial.objective if finished else "",
        "message": trial.message,
    }


def _point_row(point, *, trial="", on_front=""):
    return {
        "trial": trial,
        "name": point.name,
        "mean_gflops": point.mean_gflops,
        "accuracy_percent": point.accuracy_percent,
        "on_front": on_front,
    }


def _write(path, rows):
    with replaced_whole(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
