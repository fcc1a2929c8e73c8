import ast
import pathlib
import subprocess
import sys
import tomllib

import pytest

from tests.trainers.programs import REPOSITORY
from tf_adaptive.errors import InputError
from tf_adaptive.extras import check_extra, lazily

# Of each extra, a package and a program that ends in a line without it.
PROGRAMS = {
    "data": ("sklearn", "trainers.train_multi_exit"),
    "report": ("matplotlib", "trainers.evaluate"),
    "programs": ("tensorboard", "trainers.train_static"),
    "tune": ("keras_tuner", "trainers.tune"),
    "tflite": ("ai_edge_litert", "savedmodels.convert_tflite"),
    "serving": ("tensorflow_serving", "savedmodels.export"),
}
FLAGS = {
    "trainers.tune": ("--dataset", "digits"),
    "savedmodels.convert_tflite": ("--output", "out"),
    "savedmodels.export": ("--output", "out"),
    "trainers.train_static": ("--backbone", "resnet8_grey"),
}


def run_without(package, *command):
    """Runs a program where a package is not installed."""
    without = (
        "import runpy, sys\n"
        f"sys.modules[{package!r}] = None\n"
        "sys.argv = sys.argv[1:]\n"
        'runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)'
    )
    return subprocess.run(
        [sys.executable, "-c", without, *map(str, command)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("extra", PROGRAMS)
def test_a_missing_extra_is_one_line_that_names_it(tmp_path, extra):
    package, program = PROGRAMS[extra]
    run_dir = tmp_path / "run"
    finished = run_without(package, program, *FLAGS.get(program, ()), "--run_dir", run_dir)
    assert finished.returncode == 2, finished.stderr
    assert finished.stderr == (
        f"error: The package {package!r} must be installed for this: "
        f"pip install 'tf_adaptive[{extra}]'. Received: no such package.\n"
    )
    assert not run_dir.exists()


@pytest.mark.parametrize(
    ("extra", "package", "flags"),
    [
        ("parquet", "pyarrow", ("--format", "parquet")),
        ("beam", "apache_beam", ("--runner", "beam:DirectRunner")),
    ],
)
def test_classify_files_without_an_extra(tmp_path, extra, package, flags):
    output = tmp_path / "out"
    given = ("--input", tmp_path, "--model_dir", tmp_path, "--output", output, *flags)
    finished = run_without(package, "savedmodels.classify_files", *given)
    assert finished.returncode == 2, finished.stderr
    assert f"pip install 'tf_adaptive[{extra}]'. Received: no such package." in finished.stderr
    assert not output.exists()


def test_a_module_is_imported_when_it_is_used(monkeypatch):
    assert lazily("math", extra="data").pi == pytest.approx(3.14159265)
    missing = lazily("matplotlib.no_such_module", extra="report")
    with pytest.raises(InputError, match=r"pip install 'tf_adaptive\[report\]'"):
        missing.something  # noqa: B018
    with pytest.raises(AttributeError):
        lazily("math", extra="data").no_such_name  # noqa: B018


def test_the_library_is_imported_without_any_extra():
    # Keras itself imports matplotlib and scikit-learn where they are.
    names = ["ai_edge_litert", "grpc", "keras_tuner", "prometheus_client", "tensorboard"]
    names += ["tensorflow_datasets", "tensorflow_model_optimization", "tensorflow_serving"]
    loaded = f"print([name for name in {names} if name in sys.modules])"
    program = f"import sys, tf_adaptive, tf_adaptive.trainers.train_drnet; {loaded}"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert finished.stdout == "[]\n", finished.stderr


# In requirements-dev.txt: Beam wants an older pillow than others do, and other runtimes are large.
_OF_DEVELOPERS = ("beam", "benchmark")


def test_every_extra_is_declared_and_locked():
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"]
    for extra in (*PROGRAMS, "prune", "parquet", *_OF_DEVELOPERS):
        check_extra(extra)
    assert set(extras) == {*PROGRAMS, "prune", "parquet", *_OF_DEVELOPERS, "pytorch", "all"}
    (every,) = extras["all"]
    inside = every.removeprefix("tf_adaptive[").removesuffix("]").split(",")
    assert {*inside, "all", *_OF_DEVELOPERS} == set(extras)
    lock = (REPOSITORY / "requirements.txt").read_text()
    locked = {line.partition("==")[0] for line in lock.splitlines()}
    needed = [
        *project["dependencies"],
        *(p for e in extras if e not in ("all", "pytorch", *_OF_DEVELOPERS) for p in extras[e]),
    ]
    assert {requirement.partition(">=")[0] for requirement in needed} == locked


def test_every_package_is_in_the_wheel():
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        setuptools = tomllib.load(file)["tool"]["setuptools"]
    folders = {
        path.parent.relative_to(REPOSITORY).as_posix().replace("/", ".")
        for top in ("tf_adaptive", "trainers", "savedmodels")
        for path in (REPOSITORY / top).rglob("__init__.py")
    }
    inside = {f if f.startswith("tf_adaptive") else f"tf_adaptive.{f}" for f in folders}
    assert set(setuptools["packages"]) == inside


def test_programs_need_nothing_of_the_folder_they_are_in():
    """Inside the wheel they are in tf_adaptive: they name one another relatively."""
    for top in ("trainers", "savedmodels"):
        for path in pathlib.Path(REPOSITORY, top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and not node.level:
                    assert node.module.partition(".")[0] not in ("trainers", "savedmodels"), path
