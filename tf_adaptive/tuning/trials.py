"""The trials of a search on disk, and which of them are the best.

trials/001.json   a trial's hyperparameters and, once it is done, what it reached
trials/001/       its training, see `run_directory`
"""

import dataclasses
import json
import shutil

from tf_adaptive.errors import InputError
from tf_adaptive.files import replaced_whole

RUNNING, FINISHED, FAILED = "running", "finished", "failed"


@dataclasses.dataclass(frozen=True)
class Point:
    """What a trained network reaches at one cost.

    Attributes:
        name: what is meant, such as "exit 2"; empty where a network has one point.
        mean_gflops: mean cost of an image, in 10⁹ multiply-accumulates.
        accuracy_percent: top-1 on the validation images.
    """

    name: str
    mean_gflops: float
    accuracy_percent: float


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training of a search.

    Attributes:
        number: from 1; the first is the defaults.
        values: its hyperparameters by name.
        epochs: passes over the training images in all, those of `continues` included.
        continues: number of the trial whose training it goes on with; None for a new training.
        status: "running", "finished" or "failed".
        points: tuple of `Point`, once it is finished.
        objective: what the search maximises, once it is finished.
        message: why it failed.
    """

    number: int
    values: dict
    epochs: int
    continues: int | None = None
    status: str = RUNNING
    points: tuple[Point, ...] = ()
    objective: float | None = None
    message: str = ""

    @property
    def accuracy_percent(self):
        """Mean over the points."""
        return sum(point.accuracy_percent for point in self.points) / len(self.points)

    @property
    def mean_gflops(self):
        """Mean over the points."""
        return sum(point.mean_gflops for point in self.points) / len(self.points)


class Trials:
    """The trials of one search.

    Args:
        run_dir: `pathlib.Path` of the search's directory.
    """

    def __init__(self, run_dir):
        self._directory = run_dir / "trials"

    def all(self):
        """Every `Trial` that was begun, in order.

        Raises:
            InputError: one is damaged.
        """
        return [self._read(path) for path in sorted(self._directory.glob("[0-9]*.json"))]

    def get(self, number):
        """The `Trial` of that number, None before it was begun.

        Raises:
            InputError: it is damaged.
        """
        path = self._path(number)
        return self._read(path) if path.is_file() else None

    def put(self, trial):
        """Writes a `Trial`, in place of the one of its number."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with replaced_whole(self._path(trial.number)) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(trial), indent=2) + "\n")

    def directory(self, trial):
        """`pathlib.Path` of what is a trial's own."""
        return self._path(trial.number).with_suffix("")

    def training_directory(self, trial):
        """`pathlib.Path` of a trial's training, which is that of the trial it goes on with."""
        while trial.continues is not None:
            trial = self.get(trial.continues)
        return self.directory(trial)

    def remove_checkpoints(self):
        """Removes the states of all trainings, with which nothing can go on any more."""
        for checkpoints in list(self._directory.glob("[0-9]*/**/checkpoints")):
            shutil.rmtree(checkpoints)

    def _path(self, number):
        return self._directory / f"{number:03}.json"

    def _read(self, path):
        try:
            trial = json.loads(path.read_text())
            trial["points"] = tuple(Point(**point) for point in trial["points"])
            return Trial(**trial)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"A trial's file must be one that the search wrote. Received: {path}, which is "
                "not; search in a new directory."
            ) from error


def best_trial(trials):
    """The trial with the highest objective of those trained longest; the earliest of equals.

    Args:
        trials: list of `Trial`.

    Returns:
        One of them; None where none is finished.
    """
    finished = [trial for trial in trials if trial.status == FINISHED]
    most = max((trial.epochs for trial in finished), default=None)
    return max(
        (trial for trial in finished if trial.epochs == most),
        key=lambda trial: trial.objective,
        default=None,
    )


def pareto_front(points):
    """Which points no other beats: none is as cheap and more accurate, or cheaper and as accurate.

    Args:
        points: list of `Point`.

    Returns:
        List of bool, one per point.
    """

    def beats(other, point):
        return (
            other.mean_gflops <= point.mean_gflops
            and other.accuracy_percent >= point.accuracy_percent
            and (other.mean_gflops, other.accuracy_percent)
            != (point.mean_gflops, point.accuracy_percent)
        )

    return [not any(beats(other, point) for other in points) for point in points]
