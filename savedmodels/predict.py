"""Says what is in pictures, and how much of the network it took.

    python -m savedmodels.predict --model_dir served/digits photo.jpg more_photos
    cat photo.jpg | python -m savedmodels.predict --model_dir tflite/digits --json -

Pictures are BMP, GIF, JPEG, PNG or WebP files, folders, which are searched with all folders in them
for .bmp, .gif, .jpeg, .jpg, .png and .webp, and - for one on standard input;
of at most 33,554,432 pixels and 134,217,728 bytes. They are read as the run read its own,
--picture_reading.

A line each: path, label, confidence, the exit or the resolution, and the time from the bytes of the
file to the answer, decoding included; of a network that was converted for batches and is faster in
them, the mean of a batch. A blank image is answered before, so loading the network is
not in it; only the first picture to go further in a SavedModel than that takes longer.

What cannot be read is named on standard error, the others are answered, and the exit status is 1.
"""

import json
import signal
import sys
import time

import tqdm
from absl import flags

from tf_adaptive.errors import InputError
from tf_adaptive.programs import program

from .classifiers import answers_or_errors, load_classifier
from .picture_files import find_pictures, read_picture

_MODEL_DIR = flags.DEFINE_string(
    "model_dir",
    None,
    "folder of savedmodels.convert_tflite, or a model of savedmodels.export: OUTPUT/NAME/VERSION, "
    "OUTPUT/NAME for its newest version, or OUTPUT with one model",
    required=True,
)
_THRESHOLDS = flags.DEFINE_list(
    "thresholds",
    None,
    "one per exit but the last, in place of those of the network; off where none is to leave",
)
_JSON = flags.DEFINE_bool(
    "json",
    False,
    "a JSON object per line: path, class, label, confidence, exit or resolution, seconds",
)

_UNREADABLE_STATUS = 1
# Fewer pictures need no progress bar.
_MANY = 10


def main(arguments):
    if not arguments:
        raise InputError(
            "There must be pictures beside the flags: files, folders, or - for standard input. "
            "Received: none."
        )
    # What reads the lines may stop, as `head` does.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    classify = load_classifier(
        _MODEL_DIR.value, thresholds=program.numbers(_THRESHOLDS, none="off")
    )
    paths, refused = find_pictures(arguments)
    for path, reason in refused.items():
        _refuse(path, reason)
    failures = len(refused)
    line = json.dumps if _JSON.value else _aligned(paths, classify.class_names)
    bar = tqdm.tqdm(
        total=len(paths),
        unit=" images",
        leave=False,
        disable=len(paths) < _MANY or not sys.stderr.isatty(),
    )
    at_once = classify.pictures_at_once
    with bar:
        for start in range(0, len(paths), at_once):
            for path, answer in _answers(classify, paths[start : start + at_once]):
                if isinstance(answer, InputError):
                    _refuse(path, answer)
                    failures += 1
                else:
                    _write(line({"path": path, **answer}), sys.stdout)
                bar.update()
    if failures:
        print(f"{failures} of {len(paths) + len(refused)} could not be read", file=sys.stderr)
        sys.exit(_UNREADABLE_STATUS)


def _answers(classify, paths):
    """Pairs of path and answer, or what refuses the picture, in order."""
    read = {}
    for place, path in enumerate(paths):
        try:
            read[place] = read_picture(path)
        except InputError as error:
            yield path, error
    start = time.perf_counter()
    answers = answers_or_errors(classify.many, list(read.values()))
    seconds = (time.perf_counter() - start) / max(len(read), 1)
    for place, answer in zip(read, answers, strict=True):
        if not isinstance(answer, InputError):
            answer = {**answer, "seconds": seconds}
        yield paths[place], answer


def _aligned(paths, class_names):
    """A function that makes a line of what `_answer` gives."""
    path_width = max((len(_shown(path)) for path in paths), default=0)
    label_width = max(map(len, class_names))

    def line(row):
        kind = "exit" if "exit" in row else "resolution"
        return (
            f"{_shown(row['path']):<{path_width}}  {row['label']:<{label_width}}  "
            f"{row['confidence']:.3f}  {kind} {row[kind]:<3}  {1000 * row['seconds']:7.2f} ms"
        )

    return line


def _refuse(path, reason):
    _write(f"{_shown(path)}: {reason}", sys.stderr)


def _write(line, file):
    """A line that a progress bar makes room for, and that is there at once."""
    tqdm.tqdm.write(line, file)
    file.flush()


def _shown(path):
    """In one line, and without what a terminal would obey."""
    return path if path.isprintable() else repr(path)


if __name__ == "__main__":
    program.run(main, takes_arguments=True)
