"""The command `tf-adaptive PROGRAM --flags`, which the installed package has."""

import importlib.resources
import runpy
import sys

from tf_adaptive.errors import InputError, check_choice

_FOLDERS = ("trainers", "savedmodels")


def main():
    """Runs the program that the first argument names, with the arguments behind it.

    Without one, or with --help in its place, lists the programs.
    """
    programs = _programs()
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "-help", "--help", "--helpfull"):
        print("tf-adaptive PROGRAM --flags; tf-adaptive PROGRAM --help tells its flags.\n")
        for known, (_, words) in programs.items():
            print(f"  {known:<20} {words}")
        return
    try:
        check_choice("PROGRAM", name, programs)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [sys.argv[0], *arguments]
    module, _ = programs[name]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _programs():
    """Each program's module, and what it does in words."""
    found = {}
    for folder in _FOLDERS:
        package = f"tf_adaptive.{folder}"
        for file in sorted(importlib.resources.files(package).iterdir(), key=lambda f: f.name):
            if not file.name.endswith(".py"):
                continue
            text = file.read_text(encoding="utf-8")
            if "program.run(main" in text:
                name = file.name.removesuffix(".py")
                words = text.removeprefix('"""').partition("\n")[0].rstrip(".")
                found[name] = (f"{package}.{name}", words)
    return found
