import ast
import collections
import graphlib
import re

import pytest

from tests.project_files import REPOSITORY, project_files


@pytest.fixture(scope="module")
def targets(files):
    """The targets by name, from running BUILD, whose language is a subset of Python."""
    found = {}

    def rule(kind):
        def add(name, **attributes):
            assert name not in found
            found[name] = {"kind": kind, "deps": [], "data": [], **attributes}

        return add

    def glob(include, *, exclude=(), allow_empty=False):
        """As today's Bazel has it: without `allow_empty` every pattern must match, and one stay."""
        matching = {p: set(filter(matcher(p), files)) for p in (*include, *exclude)}
        found = set().union(*(matching[p] for p in include))
        found -= set().union(*(matching[p] for p in exclude))
        assert allow_empty or (found and all(matching[p] for p in include)), include
        for pattern in exclude:
            assert "*" in pattern or pattern in files
        return sorted(found)

    rules = {kind: rule(kind) for kind in ("py_library", "py_binary", "py_test")}
    names = {"load": lambda *_: None, "glob": glob, **rules}
    exec(compile((REPOSITORY / "BUILD").read_text(), "BUILD", "exec"), names)
    return found


def matcher(pattern):
    """What tells whether a path is one of a pattern's, in which ** is any number of folders."""
    expressions = {"**/": "([^/]+/)*", "**": ".+", "*": "[^/]*"}
    parts = re.split(r"(\*\*/|\*\*|\*)", pattern)
    return re.compile("".join(expressions.get(p, re.escape(p)) for p in parts)).fullmatch


@pytest.fixture(scope="module")
def files():
    return project_files()


@pytest.fixture(scope="module")
def python_files(files):
    return {file for file in files if file.endswith(".py")}


def test_every_file_is_in_a_target_and_every_named_file_exists(targets, files, python_files):
    sources = {source for target in targets.values() for source in target["srcs"]}
    assert sources == python_files
    data = {file for target in targets.values() for file in target["data"]}
    assert data <= files
    assert {file for file in files - python_files if "/" in file} <= data


def test_every_test_file_and_every_program_has_a_target(targets, python_files):
    def files_of(kind):
        return {target["srcs"][0] for target in targets.values() if target["kind"] == kind}

    programs = {
        file
        for file in python_files
        if "/" in file
        and not file.startswith("tests/")
        and all(
            words in (REPOSITORY / file).read_text()
            for words in ('__name__ == "__main__"', "program.run(main")
        )
    }
    assert files_of("py_binary") == programs
    assert files_of("py_test") == {file for file in python_files if file.endswith("_test.py")}
    for name, target in targets.items():
        file = name.replace(".", "/") + ".py"
        if target["kind"] != "py_library":
            assert target["srcs"] == [file, target["main"]]
            assert target["args"] == ([name] if file in programs else ["pytest", file])


@pytest.fixture(scope="module")
def owners(targets):
    """The targets that each Python file is in."""
    found = collections.defaultdict(set)
    for name, target in targets.items():
        for source in target["srcs"]:
            found[source].add(name)
    return found


def test_targets_depend_on_what_their_files_import(targets, owners, python_files):
    """Libraries by their own dependencies; programs and tests by those of their libraries too."""
    within = {}
    # This ends in an error where they go in a circle.
    for name in graphlib.TopologicalSorter(
        {name: dependencies(target) for name, target in targets.items()}
    ).static_order():
        direct = dependencies(targets[name])
        within[name] = {name}.union(*(within[dependency] for dependency in direct))
        allowed = {name, *direct} if targets[name]["kind"] == "py_library" else within[name]
        for source in targets[name]["srcs"]:
            for imported in imports(source) & python_files:
                assert owners[imported] & allowed, (name, source, imported)


def test_the_library_has_no_dependency_that_it_does_not_need(targets, owners, python_files):
    for name, target in targets.items():
        # What stands for all of it has it whole.
        if name != "tf_adaptive" and target["srcs"][0].startswith("tf_adaptive/"):
            imported = {file for s in target["srcs"] for file in imports(s) & python_files}
            needed = set().union(*(owners[file] for file in imported)) - {name}
            assert set(dependencies(target)) == needed, name


def dependencies(target):
    return [label.removeprefix(":") for label in target["deps"]]


def imports(source):
    """The files of the project that a file imports, were every name a file."""
    modules = set()
    package = source.split("/")[:-1]
    for node in ast.walk(ast.parse((REPOSITORY / source).read_text())):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            modules.add(module)
            modules.update(f"{module}.{alias.name}" for alias in node.names)
    paths = [module.replace(".", "/") for module in modules]
    return {f"{path}.py" for path in paths} | {f"{path}/__init__.py" for path in paths}
