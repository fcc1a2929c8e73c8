import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.trainers.programs import without_times
from tests.training.tiny_training import (
    BATCH_SIZE,
    CONFIG,
    EPOCHS,
    cross_entropy,
    tiny_dataset,
    tiny_model,
    tiny_step,
    train_tiny,
)
from tf_adaptive.errors import InputError
from tf_adaptive.runs.directory import start_run
from tf_adaptive.training import Progress, TrainStep, sgd, train
from tf_adaptive.training.checkpoints import Checkpoints

REPOSITORY = pathlib.Path(__file__).parents[2]


def history(run_dir):
    """The rows of `history.csv` without what depends on the clock."""
    return without_times(run_dir / "history.csv")


def weights(model):
    return [variable.numpy() for variable in model.variables]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The run directory and the trained weights."""
    run_dir = tmp_path_factory.mktemp("uninterrupted")
    return run_dir, weights(train_tiny(run_dir))


def assert_same(run_dir, model, uninterrupted):
    expected_run_dir, expected_weights = uninterrupted
    assert history(run_dir) == history(expected_run_dir)
    for ours, theirs in zip(weights(model), expected_weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_another_seed_is_another_run(tmp_path, uninterrupted):
    train_tiny(tmp_path, seed=2, epochs=1)
    assert history(tmp_path)[0]["loss"] != history(uninterrupted[0])[0]["loss"]


def test_history_has_a_row_per_epoch(uninterrupted):
    rows = history(uninterrupted[0])
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert list(rows[0]) == [
        "epoch",
        "learning_rate",
        "loss",
        "train_accuracy_exit_1",
        "train_accuracy_exit_2",
        "validation_accuracy_exit_1",
        "validation_accuracy_exit_2",
    ]
    rates = [float(row["learning_rate"]) for row in rows]
    expected = [0.05 * (1 + np.cos(np.pi * step / 18)) for step in (5, 11, 17)]
    assert rates == pytest.approx(expected, rel=1e-5)
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    for row in rows:
        assert float(row["train_accuracy_exit_1"]) * 44 == pytest.approx(
            round(float(row["train_accuracy_exit_1"]) * 44)
        )


def test_validation_accuracy_is_the_models(tmp_path):
    model = train_tiny(tmp_path, epochs=1)
    images, labels = next(iter(tiny_dataset().batches("validation", 12)))
    expected = [np.mean(np.argmax(exit, axis=1) == labels) for exit in model(images)]
    row = history(tmp_path)[-1]
    accuracies = [float(row[f"validation_accuracy_exit_{exit}"]) for exit in (1, 2)]
    np.testing.assert_allclose(accuracies, expected)


class Interruption(Exception):
    pass


def step_interrupted_at(call):
    class InterruptedStep(TrainStep):
        calls = 0

        def __call__(self, images, labels):
            self.calls += 1
            if self.calls == call:
                raise Interruption
            super().__call__(images, labels)

    return InterruptedStep


# Steps are counted over the whole run, 6 in an epoch, with checkpoints at every second.
@pytest.mark.parametrize("call", [4, 7], ids=lambda call: f"before step {call}")
def test_interrupted_run_continues_bit_for_bit(tmp_path, uninterrupted, call):
    with pytest.raises(Interruption):
        train_tiny(tmp_path, step_class=step_interrupted_at(call))
    assert_same(tmp_path, train_tiny(tmp_path, resume=True), uninterrupted)


def test_run_interrupted_between_history_and_checkpoint(tmp_path, uninterrupted, monkeypatch):
    whole_save = Checkpoints.save

    def save(checkpoints):
        if (tmp_path / "history.csv").exists():
            raise Interruption
        whole_save(checkpoints)

    with monkeypatch.context() as patched, pytest.raises(Interruption):
        patched.setattr(Checkpoints, "save", save)
        train_tiny(tmp_path)
    assert len(history(tmp_path)) == 1
    assert_same(tmp_path, train_tiny(tmp_path, resume=True), uninterrupted)


def test_a_damaged_checkpoint_is_gone_on_from_before_it(tmp_path, uninterrupted):
    class Noting(Progress):
        def __init__(self):
            self.lines = []

        def note(self, line):
            self.lines.append(line)

    with pytest.raises(Interruption):
        train_tiny(tmp_path, step_class=step_interrupted_at(10))
    *_, newest = sorted((tmp_path / "checkpoints").glob("*.index"))
    newest.write_bytes(newest.read_bytes()[:20])
    noting = Noting()
    model = train_tiny(tmp_path, resume=True, progress=noting)
    (line,) = noting.lines
    assert line.startswith(f"{newest.with_suffix('')}.* is damaged: the training goes on from")
    assert_same(tmp_path, model, uninterrupted)


@pytest.mark.parametrize("written", [None, "ckpt-1.data-00000-of-00001"])
def test_run_killed_before_its_first_checkpoint_starts_over(tmp_path, uninterrupted, written):
    start_run(tmp_path, CONFIG)
    if written is not None:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / written).write_bytes(b"half")
    assert_same(tmp_path, train_tiny(tmp_path, resume=True), uninterrupted)


def test_run_killed_before_its_model_was_written_has_nothing_left_to_train(tmp_path, uninterrupted):
    run_dir = shutil.copytree(uninterrupted[0], tmp_path / "copy")
    model = train_tiny(run_dir, resume=True, step_class=step_interrupted_at(1))
    assert_same(run_dir, model, uninterrupted)


def test_checkpoints_by_time(tmp_path):
    directory = tmp_path / "checkpoints"

    class Watching(Progress):
        def update(self, **_):
            self.latest = max(directory.glob("*.index"), key=lambda path: path.stat().st_mtime_ns)

    watching = Watching()
    train_tiny(
        tmp_path, epochs=1, checkpoint_steps=None, checkpoint_seconds=1e-9, progress=watching
    )
    # One at the start and one after each step but the last.
    assert watching.latest.stem == "ckpt-6"


def test_progress_is_told_of_every_image(tmp_path):
    class Recording(Progress):
        def __init__(self):
            self.calls = []

        def start(self, **arguments):
            self.calls.append(("start", arguments))

        def update(self, *, images, **_):
            self.calls.append(("update", images))

        def epoch_done(self, *, epochs, row):
            self.calls.append(("epoch_done", (row["epoch"], epochs)))

        def stop(self):
            self.calls.append(("stop", None))

    with pytest.raises(Interruption):
        train_tiny(tmp_path, step_class=step_interrupted_at(10))
    recording = Recording()
    train_tiny(tmp_path, resume=True, progress=recording)
    # Interrupted before the fourth step of the second epoch, with a checkpoint after the second.
    done = 44 + 2 * BATCH_SIZE
    assert recording.calls[0] == ("start", {"total_images": 132, "done_images": done})
    assert sum(value for name, value in recording.calls if name == "update") == 132 - done
    epochs = [value for name, value in recording.calls if name == "epoch_done"]
    assert epochs == [(2, EPOCHS), (3, EPOCHS)]
    assert recording.calls[-1] == ("stop", None)


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "`epochs` must be a whole number from 1"),
        ({"batch_size": 0}, "`batch_size` must be a whole number from 1"),
        ({"batch_size": 45}, "44 training images; lower `batch_size`, which is 45"),
        ({"seed": -1}, "`seed` must be a whole number from 0"),
        ({"checkpoint_steps": 0}, "`checkpoint_steps` must be a whole number from 1"),
        ({"checkpoint_seconds": 0}, "`checkpoint_seconds` must be above 0"),
        ({"checkpoint_seconds": float("nan")}, "`checkpoint_seconds` must be above 0"),
        ({"resume": True}, "`run_dir` must be the directory of a run"),
    ],
)
def test_bad_arguments_leave_no_run(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        train_tiny(tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"train": 0, "validation": 12}, "Received: 0 training images"),
        ({"train": 44, "validation": 0}, "`dataset` must have validation images"),
    ],
)
def test_empty_splits(tmp_path, sizes, message):
    dataset = tiny_dataset()
    dataset.sizes = sizes
    with pytest.raises(InputError, match=message):
        train(
            tiny_step(tiny_model()),
            dataset,
            epochs=1,
            batch_size=8,
            seed=0,
            run_dir=tmp_path / "run",
            config={},
        )
    assert not (tmp_path / "run").exists()


def test_another_run_and_other_settings_are_refused(tmp_path):
    train_tiny(tmp_path, epochs=1)
    before = contents(tmp_path)
    with pytest.raises(InputError, match="holds a run; resume it"):
        train_tiny(tmp_path)
    with pytest.raises(InputError, match="`batch_size` must be what the run .* 8. .*batch_size=4"):
        train_tiny(tmp_path, resume=True, config=CONFIG | {"batch_size": 4})
    assert contents(tmp_path) == before


def test_damaged_run_is_refused_and_left_as_it_is(tmp_path):
    train_tiny(tmp_path, epochs=1)
    history = (tmp_path / "history.csv").read_bytes()
    (tmp_path / "history.csv").unlink()
    before = contents(tmp_path)
    with pytest.raises(InputError, match="must hold the 1 epochs of the checkpoint"):
        train_tiny(tmp_path, resume=True)
    assert contents(tmp_path) == before
    (tmp_path / "history.csv").write_bytes(history)
    for path in (tmp_path / "checkpoints").iterdir():
        path.unlink()
    before = contents(tmp_path)
    with pytest.raises(InputError, match="must hold a checkpoint"):
        train_tiny(tmp_path, resume=True)
    assert contents(tmp_path) == before


def train_until_not_finite(run_dir, **arguments):
    keras.utils.set_random_seed(0)

    class Explosion(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return tf.where(step < 3, 0.1, float("inf"))

    step = TrainStep(tiny_model(), sgd(Explosion()), cross_entropy)
    train(
        step,
        tiny_dataset(),
        epochs=2,
        batch_size=BATCH_SIZE,
        seed=0,
        run_dir=run_dir,
        config=CONFIG,
        **arguments,
    )


def test_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(InputError, match="must stay finite.* epoch 1, step 6; lower"):
        train_until_not_finite(tmp_path)
    assert not (tmp_path / "history.csv").exists()


def test_weights_that_are_not_finite_reach_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match="must stay finite.* epoch 1, step 4; lower"):
        # The infinite rate comes with the fourth step: its own loss is still finite.
        train_until_not_finite(tmp_path, checkpoint_steps=1)
    checkpoint = tf.train.load_checkpoint(str(tmp_path / "checkpoints"))
    for name, dtype in checkpoint.get_variable_to_dtype_map().items():
        if dtype.is_floating:
            assert np.all(np.isfinite(checkpoint.get_tensor(name))), name
