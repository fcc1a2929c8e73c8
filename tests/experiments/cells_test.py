import pytest

from experiments.cells import cell_directory, trained
from experiments.tables import tell
from tests.trainers.programs import rows
from tf_adaptive.errors import InputError

TRAINING = """
import pathlib, sys
flags = dict(flag[2:].split("=", 1) for flag in sys.argv[1:])
run = pathlib.Path(flags["run_dir"])
(run / "report").mkdir(parents=True, exist_ok=flags["resume"] == "true")
(run / "config.json").write_text(repr(sorted(flags)))
if flags.get("epochs") == "0":
    sys.exit(2)
(run / "model.keras").touch()
(run / "report" / "budgeted.csv").touch()
"""


def test_another_setting_is_another_cell(tmp_path):
    first = cell_directory(tmp_path, "GE and ISC seed 0", {"epochs": 4, "seed": 0})
    assert first.parent == tmp_path
    assert first.name.startswith("ge_and_isc_seed_0_")
    assert first == cell_directory(tmp_path, "GE and ISC seed 0", {"seed": 0, "epochs": 4})
    assert first != cell_directory(tmp_path, "GE and ISC seed 0", {"epochs": 5, "seed": 0})


def test_a_cell_is_trained_once_and_goes_on_where_it_stopped(tmp_path, monkeypatch, capfd):
    (tmp_path / "fake_training.py").write_text(TRAINING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def train(**flags):
        flags = {"preset": None, **flags}
        return trained(tmp_path / "runs", "plain", "fake_training", flags, data_dir="data")

    run_dir = train(epochs=4)
    assert f"fake_training --epochs=4 --run_dir={run_dir}" in capfd.readouterr().out
    assert "'data_dir', 'epochs', 'resume', 'run_dir'" in (run_dir / "config.json").read_text()
    assert train(epochs=4) == run_dir
    assert capfd.readouterr().out == ""
    assert train(epochs=5) != run_dir
    with pytest.raises(InputError, match="Every training must end well. Received: one that did"):
        train(epochs=0)
    assert "--resume=false" in capfd.readouterr().out
    with pytest.raises(InputError, match="Every training must end well"):
        train(epochs=0)
    assert "--resume=true" in capfd.readouterr().out
    # A cell that depends on another one's run depends on its settings, not on where it is.
    after = [train(run=tmp_path / folder / run_dir.name) for folder in ("here", "there")]
    assert after[0] == after[1]


def test_a_table_of_means_and_spreads(tmp_path, capsys):
    tell({"plain": [[1.0, 60.0], [2.0, 61.0]]}, ["exit 1", "exit 2"], tmp_path / "made" / "a.csv")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "|  | exit 1 | exit 2 |",
        "|---|---|---|",
        "| plain | 1.50 ± 0.71 | 60.50 ± 0.71 |",
    ]
    first, _ = rows(tmp_path / "made" / "a.csv")
    assert first == {
        **{"row": "plain", "column": "exit 1", "mean": "1.5000"},
        **{"standard_deviation": "0.7071", "seeds": "2"},
    }
    tell({"plain": [[1.0]]}, ["exit 1"], tmp_path / "b.csv")
    assert "| plain | 1.00 |" in capsys.readouterr().out
