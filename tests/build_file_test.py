import ast
import collections
import pathlib

import pytest

REPOSITORY = pathlib.Path(__file__).parents[1]
FOLDERS = ("tf_adaptive", "trainers", "savedmodels", "benchmarks", "experiments", "tests")


@pytest.fixture(scope="module")
def targets():
    """The targets by name, from running BUILD, whose language is a subset of Python."""
    found = {}

    def rule(kind):
        def add(name, **attributes):
            assert name not in found
            found[name] = {"kind": kind, "deps": [], **attributes}

        return add

    rules = {kind: rule(kind) for kind in ("py_library", "py_binary", "py_test")}
    names = {"load": lambda *_: None, "glob": glob, **rules}
    exec(compile((REPOSITORY / "BUILD").read_text(), "BUILD", "exec"), names)
    return found


def glob(patterns, exclude=()):
    """The files that match, as Bazel has it: ** is any number of folders, here of the project's."""

    def matching(patterns):
        return {
            path.relative_to(REPOSITORY).as_posix()
            for pattern in patterns
            for folder in (FOLDERS if pattern.startswith("**") else ("",))
            for path in (REPOSITORY / folder).glob(pattern)
        }

    return sorted(matching(patterns) - matching(exclude))


@pytest.fixture(scope="module")
def python_files():
    return {
        path.relative_to(REPOSITORY).as_posix()
        for folder in FOLDERS
        for path in (REPOSITORY / folder).rglob("*.py")
    }


def test_every_file_is_in_a_target_and_every_named_file_exists(targets, python_files):
    sources = {source for target in targets.values() for source in target["srcs"]}
    assert sources == python_files


def test_every_test_file_and_every_program_has_a_target(targets, python_files):
    def files_of(kind):
        return {target["srcs"][0] for target in targets.values() if target["kind"] == kind}

    programs = {
        file
        for file in python_files
        if not file.startswith("tests/")
        and all(
            words in (REPOSITORY / file).read_text()
            for words in ('__name__ == "__main__"', "program.run(main")
        )
    }
    assert files_of("py_binary") == programs
    assert files_of("py_test") == {file for file in python_files if file.endswith("_test.py")}
    for target in targets.values():
        if target["kind"] == "py_binary":
            assert [target["main"]] == target["srcs"]
        if target["kind"] == "py_test":
            assert target["main"] in target["srcs"]
            assert target["args"] == target["srcs"][:1]


def test_targets_depend_on_what_their_files_import(targets, python_files):
    owners = collections.defaultdict(set)
    for name, target in targets.items():
        for source in target["srcs"]:
            owners[source].add(f":{name}")
    for name, target in targets.items():
        for source in target["srcs"]:
            for imported in imports(source) & python_files:
                assert owners[imported] & {f":{name}", *target["deps"]}, (name, source, imported)


def test_dependencies_exist_and_have_no_cycle(targets):
    def visit(name, above):
        assert name not in above, [*above, name]
        for dependency in targets[name]["deps"]:
            visit(dependency.removeprefix(":"), [*above, name])

    for name in targets:
        visit(name, [])


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
