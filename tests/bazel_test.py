"""BUILD by Bazel itself, of Debian's version, and without a network.

Bazel 4 reads a WORKSPACE where later ones read MODULE.bazel, and would download what stands here in
place of it: rules of its own under the names that it loads them by.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.project_files import FOLDERS, REPOSITORY, project_files

RULES = {
    "rules_cc": ("cc", "cc_binary cc_library cc_test cc_toolchain cc_toolchain_suite"),
    "rules_java": ("java", "java_import java_runtime java_toolchain"),
    "rules_python": ("python", "py_binary py_library py_test"),
}

# They read the project's files, files for tests, and what a folder's programs share.
TESTS = ("build_file", "models.pytorch_file", "experiments.cells")


@pytest.fixture
def bazel(tmp_path):
    """Runs Bazel on the project, in a folder that has links to it, and gives what it prints."""
    command = shutil.which("bazel")
    if command is None:
        pytest.skip("there is no Bazel here: apt-get install bazel-bootstrap")
    if "TEST_SRCDIR" in os.environ:
        pytest.skip("this is one of Bazel's own tests")
    version = subprocess.check_output([command, "--version"], text=True)
    # Debian's says that it has none.
    if not version.startswith(("bazel 4.", "bazel no_version")):
        pytest.skip(f"what stands in for downloads here is for Bazel 4, not {version.strip()}")

    workspace = tmp_path / "workspace"
    workspace.mkdir()
    write_rules(tmp_path)
    names = (*RULES, "remote_coverage_tools")
    (workspace / "WORKSPACE").write_text(
        'workspace(name = "tf_adaptive")\n'
        + "".join(f'local_repository(name = "{n}", path = "{tmp_path / n}")\n' for n in names)
    )
    for name in (*FOLDERS, *(file for file in project_files() if "/" not in file)):
        (workspace / name).symlink_to(REPOSITORY / name)
    # What packages bring is not to be built.
    (workspace / ".bazelignore").symlink_to(REPOSITORY / ".bazelignore")
    (workspace / ".venv").mkdir()
    (workspace / ".venv" / "BUILD").write_text("not for this Bazel")
    # As later versions have it, a pattern that nothing matches is an error.
    settings = "--incompatible_disallow_empty_glob --nobuild_runfile_links --test_env=PATH"
    (workspace / ".bazelrc").write_text(f"build --symlink_prefix=/ {settings}\n")
    startup = (f"--output_user_root={tmp_path / 'output'}", "--nohome_rc")
    # The Python of the tests is the first on the path.
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])

    def run(verb, *arguments):
        finished = subprocess.run(
            [command, *startup, "--max_idle_secs=60", verb, *arguments],
            cwd=workspace,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    try:
        yield run
    finally:
        # Its server ends with this.
        run("clean", "--expunge")


def write_rules(folder):
    """Writes the repositories that Bazel would download, each with the rules that Bazel has."""
    for repository, (package, rules) in RULES.items():
        inside = folder / repository / package
        inside.mkdir(parents=True)
        (inside / "BUILD").touch()
        (inside / "defs.bzl").write_text("".join(f"{r} = native.{r}\n" for r in rules.split()))
    coverage = folder / "remote_coverage_tools"
    coverage.mkdir()
    (coverage / "BUILD").write_text(
        'filegroup(name = "coverage_report_generator", visibility = ["//visibility:public"])\n'
    )
    for repository in (*RULES, coverage.name):
        (folder / repository / "WORKSPACE").touch()


def test_everything_builds_and_tests_pass(bazel):
    bazel("build", "//...")
    tests = bazel("query", "kind(py_test, //...)").split()
    assert len(tests) == sum(file.endswith("_test.py") for file in project_files())
    chosen = [f"//:tests.{name}_test" for name in TESTS]
    told = bazel("test", "--test_output=errors", *chosen)
    assert told.count(" PASSED in ") == len(TESTS)
    told = bazel("run", "//:trainers.profile", "--", "--preset", "msdnet_cifar_lingrow4")
    assert told.startswith("million MACs, published")
