"""The README's snippets, one after another as a reader would, and its commands' names."""

import importlib.util
import re
import shutil

import numpy as np
import PIL.Image
import pytest

from savedmodels.serving.saved_model import export_run
from tests.savedmodels.servers import Models, grpc_server
from tests.trainers.programs import REPOSITORY

README = (REPOSITORY / "README.md").read_text()


@pytest.fixture(scope="module")
def snippets():
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_snippets_run(snippets, finished_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished_run, tmp_path / "runs" / "mine")
    export_run("runs/mine", "served", name="mine")
    PIL.Image.new("L", (30, 30)).save("photo.jpg")
    names = {"uint8_images": np.zeros((2, 30, 30, 1), np.uint8)}
    with grpc_server(Models("served")) as address:
        for snippet in snippets:
            exec(snippet.replace("localhost:8500", address), names)
    assert names["places"] and len(names["model"].outputs) == 4
    assert set(names["fast"](names["images"])) == {"class", "probabilities", "confidence", "exit"}
    assert names["answer"]["label"].shape == names["answer"]["exit"].shape == (1,)
    assert names["costs"].resolutions == names["routed"].resolutions == (96, 64)


def test_every_program_that_is_named_is_there():
    named = set(re.findall(r"\b(?:trainers|savedmodels|benchmarks)\.\w+", README))
    assert len(named) > 15
    for name in named:
        if not name.endswith(("_model", ".client")):
            assert importlib.util.find_spec(name) is not None, name
