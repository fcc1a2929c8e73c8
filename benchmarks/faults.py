"""Hundreds of kills, a hundred thousand damaged inputs, an hour of threads: what they bring down.

    python -m benchmarks.faults --kills 200 --inputs 100000 --starts 300 --minutes 60

Kills every program that writes at random moments and continues it: what comes out must be what an
uninterrupted run gives, to the bit, with nothing left over. Damages pictures and every kind of file
that is read: each must be answered or refused in a line, within ten seconds and a gigabyte. Starts
programs with a flag that holds anything. Asks the exported model from threads. Prints the counts;
the first fault ends it with what it was.
"""

import pathlib
import tempfile

import tqdm
from absl import flags

from tests.conftest import STATIC_TRAINING, TRAINING
from tests.faults.inputs import KINDS, made_files, try_inputs
from tests.faults.kills import KILLABLE, kill_at_random
from tests.faults.load import ask_in_threads
from tests.faults.random_flags import try_flags
from tests.trainers.programs import run_program
from tf_adaptive.errors import check_at_least_0, check_whole
from tf_adaptive.programs import program

_KILLS = flags.DEFINE_integer("kills", 200, "kills of all programs together")
_INPUTS = flags.DEFINE_integer("inputs", 100_000, "damaged inputs of all kinds together")
_STARTS = flags.DEFINE_integer("starts", 300, "starts of programs with a flag that holds anything")
_MINUTES = flags.DEFINE_float("minutes", 60.0, "time that threads ask the exported model for")
_THREADS = flags.DEFINE_integer("threads", 8, "threads that ask it")
# The programs that are killed have a flag `seed`, and see this file too.
_SEED = flags.DEFINE_integer("faults_seed", 0, "what the faults are drawn from")

# Files that take TensorFlow seconds to read are damaged less often than pictures.
_SHARES = {"SavedModel": 0.002, "model.keras": 0.01, "tflite": 0.01, "config.json": 0.02}
_SHARES |= dict.fromkeys(("description.json", "checkpoints", "PyTorch files"), 0.05)


def main():
    check_whole("kills", _KILLS.value, least=0)
    check_whole("inputs", _INPUTS.value, least=0)
    check_whole("starts", _STARTS.value, least=0)
    check_at_least_0("minutes", _MINUTES.value)
    check_whole("threads", _THREADS.value, least=1)
    check_whole("faults_seed", _SEED.value, least=0)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        runs = {"multi_exit": folder / "multi_exit", "static": folder / "static"}
        for name, arguments in (("multi_exit", TRAINING), ("static", STATIC_TRAINING)):
            trainer = f"trainers.train_{name}"
            finished = run_program(trainer, *arguments, "--run_dir", runs[name])
            assert finished.status == 0, finished.stderr
        if _KILLS.value:
            _kill(runs, folder)
        if _STARTS.value:
            outcome = try_flags(runs, folder, inputs=_STARTS.value, seed=_SEED.value)
            counted = ", ".join(f"{count} {what}" for what, count in outcome.items())
            print(f"\nstarts with a flag that holds anything: {counted}", flush=True)
        if _INPUTS.value or _MINUTES.value:
            made_files(folder / "files", runs["multi_exit"])
        if _INPUTS.value:
            _damage(folder / "files")
        if _MINUTES.value:
            _ask(folder / "files")


def _kill(runs, folder):
    print(f"{'killed program':<36} {'kills':>6} {'continued runs, all equal':>26}")
    for number, (name, killable) in enumerate(KILLABLE.items()):
        kills = len(range(number, _KILLS.value, len(KILLABLE)))
        if not kills:
            continue
        inside = folder / f"kills_{number}"
        inside.mkdir()
        compared = kill_at_random(
            killable,
            runs,
            inside,
            kills=kills,
            seed=_SEED.value,
            shown=lambda kills, name=name: tqdm.tqdm(kills, name, leave=False, disable=None),
        )
        print(f"{name:<36} {kills:>6} {compared:>26}", flush=True)


def _damage(files):
    print(f"\n{'damaged inputs':<24} {'answered':>9} {'refused':>9} {'most MB':>8}")
    pictures = [kind for kind in KINDS if kind not in _SHARES]
    rest = (1 - sum(_SHARES.values())) / len(pictures)
    for kind in tqdm.tqdm(KINDS, unit=" kinds", leave=False, disable=None):
        count = round(_SHARES.get(kind, rest) * _INPUTS.value)
        outcome = try_inputs(kind, files, inputs=count, seed=_SEED.value)
        with tqdm.tqdm.external_write_mode():
            print(
                f"{kind:<24} {outcome['answered']:>9,} {outcome['refused']:>9,} "
                f"{outcome['megabytes']:>8,}",
                flush=True,
            )


def _ask(files):
    (version,) = (files / "served").glob("*/1")
    outcome = ask_in_threads(
        version,
        seconds=60 * _MINUTES.value,
        threads=_THREADS.value,
        seed=_SEED.value,
        shown=lambda seconds: tqdm.tqdm(seconds, unit=" s", leave=False, disable=None),
    )
    print(
        f"\n{outcome['requests']:,} requests of {outcome['pictures']:,} pictures from "
        f"{_THREADS.value} threads, all answered as by one; memory in the last quarter ÷ in the "
        f"second: {outcome['memory']:.3f}"
    )


if __name__ == "__main__":
    program.run(main)
