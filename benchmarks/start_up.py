"""How long each program takes before it does anything, and how much memory.

    python -m benchmarks.start_up --model_dir served --tflite_dir tflite --picture photo.jpg

Each program's --helpshort, which imports all that it needs; `import tf_adaptive`; and one picture
through savedmodels.predict with the exported and with the converted network, and through the
converted folder's own run.py: whole processes. Prints median seconds, ratios to those of
`import tensorflow`, and the peak of memory.
"""

import os
import pathlib
import statistics
import subprocess
import sys

from absl import flags

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.processor import told_processor
from tf_adaptive.programs import program

_MODEL_DIR = flags.DEFINE_string("model_dir", None, "what savedmodels.export wrote; none if unset")
_TFLITE_DIR = flags.DEFINE_string(
    "tflite_dir", None, "what savedmodels.convert_tflite wrote; none if unset"
)
_PICTURE = flags.DEFINE_string("picture", None, "a picture, to be classified by them")
_ONLY = flags.DEFINE_list("only", [], "parts of the names of those to start; all if empty")
_REPEATS = flags.DEFINE_integer("repeats", 5, "starts of each")

# A process's peak of memory counts that of the one which started it, so a small one does.
_START = """
import os, sys, time
start = time.perf_counter()
nowhere = os.open(os.devnull, os.O_WRONLY)
files = [(os.POSIX_SPAWN_DUP2, nowhere, 1)]
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=files)
_, status, used = os.wait4(process, 0)
print(os.waitstatus_to_exitcode(status), time.perf_counter() - start, used.ru_maxrss)
"""
_IMPORT = "import tensorflow"
_PROGRAM_FOLDERS = ("trainers", "savedmodels")
_REPOSITORY = pathlib.Path(__file__).parents[1]


def main():
    check_whole("repeats", _REPEATS.value, least=1)
    commands = _chosen(_commands())
    print(told_processor())
    print(f"{'':<44} {'seconds':>8} {'ratio':>7} {'MB':>6}")
    measured = {name: [] for name in commands}
    # In turn, so that what else the machine does falls on all of them alike.
    for _ in range(_REPEATS.value):
        for name, command in commands.items():
            measured[name].append(_seconds_and_megabytes(name, command))
    reference = statistics.median(seconds for seconds, _ in measured[_IMPORT])
    for name, pairs in measured.items():
        seconds = statistics.median(seconds for seconds, _ in pairs)
        megabytes = max(megabytes for _, megabytes in pairs)
        print(f"{name:<44} {seconds:>8.2f} {seconds / reference:>7.2f} {megabytes:>6.0f}")


def _commands():
    """What is started, by what it is called: lists of arguments of Python."""
    commands = {_IMPORT: ["-c", _IMPORT], "import tf_adaptive": ["-c", "import tf_adaptive"]}
    for folder in _PROGRAM_FOLDERS:
        for path in sorted((_REPOSITORY / folder).glob("*.py")):
            if "program.run(main" in path.read_text(encoding="utf-8"):
                name = f"{folder}.{path.stem}"
                commands[f"{name} --helpshort"] = ["-m", name, "--helpshort"]
    folders = {"exported": _MODEL_DIR.value, "converted": _TFLITE_DIR.value}
    given = {name: folder for name, folder in folders.items() if folder is not None}
    if not given:
        return commands
    if _PICTURE.value is None:
        raise InputError("`picture` must be given for networks to classify. Received: none.")
    picture = os.path.abspath(_PICTURE.value)
    for name, folder in given.items():
        flag = f"--model_dir={os.path.abspath(folder)}"
        commands[f"savedmodels.predict, {name}"] = ["-m", "savedmodels.predict", flag, picture]
    if _TFLITE_DIR.value is not None:
        run_file = os.path.abspath(os.path.join(_TFLITE_DIR.value, "run.py"))
        commands["run.py of the converted folder"] = [run_file, picture]
    return commands


def _chosen(commands):
    chosen = {
        name: command
        for name, command in commands.items()
        if not _ONLY.value or any(part in name for part in _ONLY.value)
    }
    if not set(chosen) - {_IMPORT}:
        raise InputError(
            f"`only` must be parts of what is started, as import. Received: {_ONLY.value}."
        )
    return {_IMPORT: commands[_IMPORT], **chosen}


def _seconds_and_megabytes(name, arguments):
    """A whole process: what it took, and its peak of memory."""
    finished = subprocess.run(
        [sys.executable, "-S", "-c", _START, sys.executable, *arguments],
        cwd=_REPOSITORY,
        capture_output=True,
        text=True,
    )
    status, seconds, kilobytes = finished.stdout.split()
    # absl ends a program whose help was asked for with 1.
    if int(status) != ("--helpshort" in arguments):
        *_, line = ["nothing", *finished.stderr.strip().splitlines()]
        raise InputError(f"Every start must succeed. Received: of {name}, {line}")
    return float(seconds), int(kilobytes) / 1024


if __name__ == "__main__":
    program.run(main)
