import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.trainers.programs import rows
from tf_adaptive.errors import InputError
from tf_adaptive.training.history import History


def row(epoch):
    return {"epoch": epoch, "loss": 1 / (epoch + 2), "seconds": 0.25}


def read(run_dir):
    return rows(run_dir / "history.csv")


def test_rows_are_read_back_to_the_last_digit(tmp_path):
    history = History(tmp_path, epochs=0)
    for epoch in (1, 2):
        history.append(row(epoch))
    assert [entry["epoch"] for entry in read(tmp_path)] == ["1", "2"]
    assert float(read(tmp_path)[0]["loss"]) == 1 / 3


def test_continues_after_the_checkpoints_epochs(tmp_path):
    history = History(tmp_path, epochs=0)
    for epoch in (1, 2, 3):
        history.append(row(epoch))
    before = read(tmp_path)
    continued = History(tmp_path, epochs=2)
    continued.append(row(3))
    assert read(tmp_path) == before


def test_tensorboard_gets_the_same_numbers(tmp_path):
    history = History(tmp_path, epochs=0)
    for epoch in (1, 2):
        history.append(row(epoch))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["tensors"]) == {"loss", "seconds"}
    losses = events.Tensors("loss")
    assert [event.step for event in losses] == [1, 2]
    assert tf.make_ndarray(losses[1].tensor_proto) == pytest.approx(0.25)


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    history = History(tmp_path, epochs=0)
    history.append(row(1))
    before = (tmp_path / "history.csv").read_text()

    def write_half(self, rows):
        raise OSError("disk full")

    monkeypatch.setattr("csv.DictWriter.writerows", write_half)
    with pytest.raises(OSError, match="disk full"):
        history.append(row(2))
    assert (tmp_path / "history.csv").read_text() == before
    assert {path.name for path in tmp_path.iterdir()} == {"history.csv", "tensorboard"}


@pytest.mark.parametrize("content", [None, "", "epoch,loss\n1,0.5\n", "noise\n1\n2\n", b"\xff\xfe"])
def test_history_that_lacks_epochs(tmp_path, content):
    if content is not None:
        content = content.encode() if isinstance(content, str) else content
        (tmp_path / "history.csv").write_bytes(content)
    with pytest.raises(InputError, match="must hold the 2 epochs of the checkpoint.*history.csv"):
        History(tmp_path, epochs=2)
