"""Damaged inputs by the thousand, in processes of their own, which none of them may bring down.

    python -m tests.faults.inputs KIND FOLDER INPUTS SEED

FOLDER holds what `made_files` made. Prints what became of the inputs, a JSON object; ends with
another status than 0 at a traceback, a crash, an input that takes more than ten seconds, or more
than a gigabyte of memory.
"""

import collections
import faulthandler
import functools
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import hypothesis
import numpy as np
import PIL.Image
import tensorflow as tf

from savedmodels.classifiers import load_classifier
from savedmodels.tflite.load_runner import load_runner
from tests.faults.mutations import damaged, damaged_json, many
from tests.pytorch_files import write_legacy_file, write_zip_file
from tests.trainers.programs import REPOSITORY, run_program
from tf_adaptive.data.decoding import decode
from tf_adaptive.errors import InputError
from tf_adaptive.models.pytorch_file import read_pytorch_file
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import load_finished_run, read_config
from tf_adaptive.training.checkpoints import Checkpoints

MOST_SECONDS = 10
MOST_BYTES = 10**9
# A process draws so many, then a new one goes on.
_IN_ONE_PROCESS = 5_000


def made_files(folder, run_dir):
    """Makes what is to be damaged of a finished run of a network with exits.

    Args:
        folder: a new folder to make.
        run_dir: a finished run of digits.
    """
    folder = pathlib.Path(folder)
    folder.mkdir()
    shutil.copytree(run_dir, folder / "run")
    for program, name, *flags in (
        ("savedmodels.export", "served"),
        ("savedmodels.convert_tflite", "tflite", "--single_file"),
    ):
        arguments = ("--run_dir", run_dir, "--output", folder / name, *flags)
        finished = run_program(program, *arguments)
        assert finished.status == 0, finished.stderr


def try_inputs(kind, folder, *, inputs, seed):
    """Tries damaged inputs of a kind.

    Args:
        kind: of `KINDS`.
        folder: of `made_files`.
        inputs: how many.
        seed: what they are drawn from.

    Returns:
        Dictionary: how many were "answered" and "refused", and "megabytes", the most memory that
        one of them took.

    Raises:
        AssertionError: one brought a traceback, a crash, a hang, or took too much memory.
    """
    total = collections.Counter()
    for number, first in enumerate(range(0, inputs, _IN_ONE_PROCESS)):
        count = min(_IN_ONE_PROCESS, inputs - first)
        command = [sys.executable, "-m", "tests.faults.inputs", kind, folder, count, seed + number]
        finished = subprocess.run(
            list(map(str, command)), cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert finished.returncode == 0, (
            f"{kind}, seed {seed + number}: status {finished.returncode}; the input is "
            f"{folder}/last_{kind.replace(' ', '_')}\n{finished.stderr[-4000:]}"
        )
        outcome = json.loads(finished.stdout.splitlines()[-1])
        megabytes = max(total["megabytes"], outcome.pop("megabytes"))
        total.update(outcome)
        total["megabytes"] = megabytes
    return dict(total)


def pictures():
    """Whole files of every kind that is read."""
    noise = np.random.default_rng(0).integers(256, size=(24, 24, 4)).astype("uint8")
    colour = PIL.Image.fromarray(noise, "RGBA")
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    files = []
    for mode, format, options in (
        ("RGB", "JPEG", {"exif": turned}),
        ("L", "JPEG", {"progressive": True}),
        ("CMYK", "JPEG", {}),
        ("RGBA", "PNG", {}),
        ("P", "PNG", {"transparency": 3}),
        ("I;16", "PNG", {}),
        ("RGB", "BMP", {}),
        ("P", "BMP", {}),
        ("P", "GIF", {"save_all": True, "append_images": [colour.convert("P").rotate(90)]}),
        ("RGBA", "WEBP", {}),
        ("RGB", "WEBP", {"lossless": True}),
    ):
        file = io.BytesIO()
        image = colour.convert("L") if mode == "I;16" else colour
        image.convert(mode).save(file, format, **options)
        files.append(file.getvalue())
    return files


def _decode(folder):
    decoded = tf.function(
        functools.partial(decode, channels=3),
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
    )

    def attempt(file):
        image = decoded(tf.constant(file))
        assert image.dtype == tf.uint8 and image.shape[-1] == 3

    return damaged(pictures()), attempt


def _classify(name, folder):
    classify = load_classifier(folder / name)

    def attempt(file):
        assert 0 <= classify(file)["confidence"] <= 1

    return damaged(pictures()), attempt


def _serve(folder):
    served = tf.saved_model.load(str(next((folder / "served").glob("*/1"))))
    signature = served.signatures["serving_bytes"]
    strategy = hypothesis.strategies.lists(damaged(pictures()), min_size=1, max_size=3)
    return strategy, lambda files: signature(encoded=tf.constant(files))


def _files_of(pattern, folder, read, *, strategy=lambda content: damaged([content])):
    """Damages one file of a copy after another, and reads the copy."""
    copied, _, inside = pattern.partition("/")
    copy = folder / f"copy_of_{copied}"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / copied, copy)
    whole = {path: path.read_bytes() for path in sorted(copy.glob(inside)) if path.is_file()}
    assert whole, pattern
    read(copy)

    def attempt(example):
        path, content = example
        path.write_bytes(content)
        try:
            read(copy)
        finally:
            path.write_bytes(whole[path])

    each = [
        hypothesis.strategies.tuples(hypothesis.strategies.just(path), strategy(content))
        for path, content in whole.items()
    ]
    return hypothesis.strategies.one_of(each), attempt


def _read_settings(run):
    load_run_dataset(read_config(run))


def _restore(folder):
    """Checkpoints of a small state."""
    made = folder / "small"
    shutil.rmtree(made, ignore_errors=True)
    state = {"model": [tf.Variable(tf.zeros((3, 4))), tf.Variable(tf.ones(5))]}
    checkpoints = Checkpoints(made / "checkpoints", state)
    checkpoints.save()
    checkpoints.save()

    def read(copy):
        Checkpoints(copy / "checkpoints", state).restore()

    return _files_of("small/checkpoints/*", folder, read)


def _read_weights(folder):
    made = folder / "weights"
    made.mkdir(exist_ok=True)
    arrays = {"a": np.ones((2, 3), "float32"), "b": np.zeros(4, "float32")}
    write_zip_file(made / "new.pth", arrays)
    write_legacy_file(made / "legacy.pth", arrays)

    def read(copy):
        for name in ("new.pth", "legacy.pth"):
            read_pytorch_file(copy / name)

    return _files_of("weights/*", folder, read)


KINDS = {
    "pictures, decoded": _decode,
    "pictures, SavedModel": functools.partial(_classify, "served"),
    "pictures, TFLite": functools.partial(_classify, "tflite"),
    "pictures, served": _serve,
    "config.json": lambda folder: _files_of(
        "run/config.json", folder, _read_settings, strategy=damaged_json
    ),
    "description.json": lambda folder: _files_of(
        "tflite/description.json", folder, load_runner, strategy=damaged_json
    ),
    "model.keras": lambda folder: _files_of("run/model.keras", folder, load_finished_run),
    "tflite": lambda folder: _files_of("tflite/*.tflite", folder, load_runner),
    "SavedModel": lambda folder: _files_of("served/*/1/**/*", folder, load_classifier),
    "checkpoints": _restore,
    "PyTorch files": _read_weights,
}


def main(kind, folder, inputs, seed):
    folder = pathlib.Path(folder)
    strategy, attempt = KINDS[kind](folder)
    last = folder / f"last_{kind.replace(' ', '_')}"
    # Its own: what loads a model may put aside where notices go.
    told = os.fdopen(os.dup(sys.stderr.fileno()), "w")
    outcomes, taken = collections.Counter(answered=0, refused=0), []

    @hypothesis.seed(int(seed))
    @many(int(inputs))
    @hypothesis.given(strategy)
    def every(example):
        last.write_bytes(_as_bytes(example))
        before = _most_bytes_from_now()
        faulthandler.dump_traceback_later(MOST_SECONDS, exit=True, file=told)
        try:
            attempt(example)
        # A graph's own error, in words, is what a server sends back.
        except (InputError, tf.errors.InvalidArgumentError):
            outcomes["refused"] += 1
        else:
            outcomes["answered"] += 1
        finally:
            faulthandler.cancel_dump_traceback_later()
        taken.append(_most_bytes() - before)
        assert taken[-1] < MOST_BYTES, taken[-1]

    every()
    print(json.dumps(outcomes | {"megabytes": max(taken) // 10**6}))


def _as_bytes(example):
    """What an input was, to be read by a person or tried again."""
    if isinstance(example, tuple):
        path, content = example
        return f"{path}\n".encode() + content
    return example if isinstance(example, bytes) else repr(example).encode()


def _most_bytes_from_now():
    """Starts the count of the most memory that the process has again, and gives what it has now."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    return _most_bytes()


def _most_bytes():
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
