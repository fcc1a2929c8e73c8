import sys

import pytest

from tf_adaptive.programs import entry


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["tf-adaptive", *arguments])
    entry.main()


def test_programs_are_listed(monkeypatch, capsys):
    run(monkeypatch)
    listed = capsys.readouterr().out
    for name in ("train_multi_exit", "tune", "export", "predict"):
        assert f"  {name} " in listed
    # Only what has a main.
    assert "classifiers" not in listed


def test_a_misspelt_program(monkeypatch, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, "evalute", "--run_dir", "x")
    told = capsys.readouterr().err
    assert told.startswith("error: `PROGRAM` must be one of ") and told.count("\n") == 1
    assert told.endswith("Received: PROGRAM='evalute'. Did you mean 'evaluate'?\n")
