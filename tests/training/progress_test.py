import io

from tf_adaptive.training.progress import TerminalProgress

ROW = {
    "epoch": 2,
    "loss": 1.5,
    "train_accuracy_exit_1": 0.1,
    "validation_accuracy_exit_1": 0.5,
    "validation_accuracy_exit_2": 0.625,
    "images_per_second": 123.4,
    "seconds": 9.8,
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def show():
    progress = TerminalProgress()
    progress.start(total_images=400, done_images=100)
    progress.update(epoch=2, epochs=4, images=50, loss=1.2345, accuracy=0.875)
    progress.epoch_done(epochs=4, row=ROW)
    progress.stop()


def test_terminal_shows_a_bar(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    show()
    bar = terminal.getvalue()
    for part in ("epoch 2/4", "loss 1.234", "last exit 87.50%", "150/400", " images/s"):
        assert part in bar
    assert "epoch 2/4: loss 1.5000" in capsys.readouterr().out


def test_no_terminal_gets_a_line_per_epoch(capsys):
    show()
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out == (
        "epoch 2/4: loss 1.5000, validation accuracy 50.00 62.50 %, 123 images/s, 10 s\n"
    )
