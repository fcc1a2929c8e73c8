"""The wheel in an environment of its own, outside the clone."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

from tests.conftest import TRAINING
from tests.trainers.programs import REPOSITORY

SOURCES = ("tf_adaptive", "trainers", "savedmodels", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    clone = folder / "clone"
    clone.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, clone / name)
    build = ("wheel", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", folder, clone)
    subprocess.run([sys.executable, "-m", "pip", *build], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def binaries(wheel, tmp_path_factory):
    """The folder of the commands of an environment that has the wheel, and no clone."""
    folder = tmp_path_factory.mktemp("installed") / "environment"
    venv.create(folder)
    inside = sysconfig.get_path("purelib", vars={"base": folder, "platbase": folder})
    # What the package needs is where these tests have it; what is named in a .pth there is not.
    pathlib.Path(inside, "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ("install", "--no-deps", "--no-index", "--quiet", wheel)
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", *install], check=True
    )
    return folder / "bin"


def test_one_name_at_the_top(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"tf_adaptive"}
    assert "tf_adaptive/py.typed" in names
    assert "tf_adaptive/trainers/flags/training.py" in names
    pages = {"index.html", "page.js", "network.js", "pictures.js", "style.css", "icon.svg"}
    assert {f"tf_adaptive/savedmodels/site/{name}" for name in pages} <= set(names)


def test_trains_evaluates_exports_and_predicts(binaries, finished_run, tmp_path):
    def run(*command):
        finished = subprocess.run(
            [binaries / command[0], *map(str, command[1:])],
            cwd=tmp_path,
            # A folder that is searched for packages could hold the clone.
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
        )
        assert finished.returncode == 0, finished.stderr
        assert finished.stderr == ""
        return finished.stdout

    find = "import importlib.util; print(importlib.util.find_spec('tf_adaptive').origin)"
    where = run("python", "-c", find)
    assert pathlib.Path(where).is_relative_to(binaries.parent)
    # The last of a flag counts; the tests' own preset is not installed.
    published = ("--preset", "msdnet_cifar_lingrow4")
    run("tf-adaptive", "train_multi_exit", *TRAINING, *published, "--run_dir", "run")
    ours, theirs = (
        json.loads((run_dir / "config.json").read_text())
        for run_dir in (tmp_path / "run", finished_run)
    )
    assert ours | {name: theirs[name] for name in ("run_dir", "preset")} == theirs
    module = "tf_adaptive.trainers.evaluate"
    assert "With early exit" in run("python", "-m", module, "--run_dir", "run")
    run("tf-adaptive", "write_pictures", "--run_dir", "run", "--output", "pictures", "--count", "3")
    run("tf-adaptive", "export", "--run_dir", "run", "--output", "served", "--name", "digits")
    assert run("tf-adaptive", "predict", "--model_dir", "served", "pictures").count("exit") >= 3
