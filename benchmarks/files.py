"""classify_files beside the loop that people write, and beside what decoding and network allow.

    python -m benchmarks.files --model_dir served/fashion_mnist --pictures 100000

Makes PNG and JPEG files of test images, 28 to 224 pixels a side, in a folder of its own. Then, on
the same files: pictures a second of `savedmodels.classify_files`; of a loop that asks the network
for one picture after another; of decoding alone and of the network alone on batches, and what both
one after the other would reach; with --beam, of the same job on Beam's DirectRunner; and whether
memory grows: the most that the process holds in the last half of the job by that in the first half.
"""

import pathlib
import sys
import tempfile
import threading
import time

import numpy as np
import tensorflow as tf
import tqdm
from absl import flags

from savedmodels.classifiers import load_classifier
from savedmodels.description import read_description
from savedmodels.files.job import Job
from savedmodels.files.pictures import find_input
from savedmodels.serving.classifier import SavedModelClassifier
from savedmodels.serving.model_folder import EXTRA_ASSETS
from tf_adaptive.data import load_dataset
from tf_adaptive.data.preprocessing import Preprocessing
from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.extras import check_extra
from tf_adaptive.processor import told_processor
from tf_adaptive.programs import program

_MODEL_DIR = flags.DEFINE_string(
    "model_dir", None, "network that savedmodels.export wrote", required=True
)
_PICTURES = flags.DEFINE_integer("pictures", 100_000, "files to make and to classify")
_LOOP_PICTURES = flags.DEFINE_integer("loop_pictures", 2_000, "of these, for the loop")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "pictures that are classified at once")
_THREADS = flags.DEFINE_integer("threads", 3, "batches at work at once")
_DATASET = flags.DEFINE_string("dataset", "fashion_mnist", "whose test images the pictures are of")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets")
_BEAM = flags.DEFINE_bool("beam", False, "measure Beam's DirectRunner too")

_SIDES = (28, 64, 128, 224)
_SECONDS_BETWEEN_LOOKS = 0.2


def main():
    for flag in (_PICTURES, _LOOP_PICTURES, _BATCH_SIZE, _THREADS):
        check_whole(flag.name, flag.value, least=1)
    if _BEAM.value:
        check_extra("beam")
    classifier = load_classifier(_MODEL_DIR.value)
    if not isinstance(classifier, SavedModelClassifier):
        raise InputError(
            "`model_dir` must be a network that savedmodels.export wrote. "
            f"Received: {_MODEL_DIR.value}, for LiteRT."
        )
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        pictures = _made(folder / "pictures")
        paths = pictures.paths
        rates = {}
        with _Memory() as memory:
            rates["classify_files"] = len(paths) / _seconds(_job(pictures, classifier, folder).run)
        some = paths[: _LOOP_PICTURES.value]
        rates["a picture at a time"] = len(some) / _seconds(
            lambda _: [classifier(pathlib.Path(path).read_bytes()) for path in some]
        )
        decoding, network = _parts(paths, classifier)
        rates["decoding alone"], rates["the network alone"] = (
            len(paths) / seconds for seconds in (decoding, network)
        )
        rates["both, one after the other"] = len(paths) / (decoding + network)
        if _BEAM.value:
            rates["Beam, DirectRunner"] = len(paths) / _seconds(
                lambda _: _on_beam(pictures, classifier, folder)
            )
    print(told_processor())
    print(f"{'':<28} {'pictures/s':>10} {'ratio':>7}")
    for name, rate in rates.items():
        print(f"{name:<28} {rate:>10.0f} {rate / rates['classify_files']:>7.3f}")
    print(f"Most memory in the last half ÷ in the first: {memory.growth():.3f}.")


def _made(folder):
    """Writes the files, and gives them as `Pictures`."""
    folder.mkdir()
    dataset = load_dataset(_DATASET.value, data_dir=_DATA_DIR.value)
    count = _PICTURES.value
    images = dataset.pictures("test", range(min(count, dataset.sizes["test"])))
    quiet = not sys.stderr.isatty()
    for number in tqdm.trange(count, unit=" files", leave=False, disable=quiet):
        side = _SIDES[number % len(_SIDES)]
        image = tf.image.resize(images[number % len(images)], (side, side))
        image = tf.cast(tf.round(image), tf.uint8)
        # Every other side in each format.
        is_png = number // len(_SIDES) % 2 == 0
        encoded = tf.io.encode_png(image) if is_png else tf.io.encode_jpeg(image)
        suffix = "png" if is_png else "jpg"
        (folder / f"{number:07}.{suffix}").write_bytes(encoded.numpy())
    return find_input(str(folder))


def _job(pictures, classifier, folder):
    job = Job(
        pictures=pictures,
        classify_many=classifier.many,
        kind=classifier.kind,
        exit_macs=classifier.exit_macs,
        output=folder / "answers",
        rows_as="jsonl",
        settings={},
        batch_size=_BATCH_SIZE.value,
        part_size=10_000,
        threads=_THREADS.value,
    )
    job.prepare(resume=False)
    return job


def _seconds(function):
    """Of a function that is called with what takes a job's progress."""
    start = time.perf_counter()
    function(lambda count: None)
    return time.perf_counter() - start


def _parts(paths, classifier):
    """Seconds of decoding all files, and of the network on all of them decoded."""
    preprocessing = Preprocessing.of(read_description(classifier.directory / EXTRA_ASSETS, {}))

    def decoded(path):
        return preprocessing.decoded(tf.io.read_file(path)[tf.newaxis])[0]

    batches = (
        tf.data.Dataset.from_tensor_slices(paths)
        .map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(_BATCH_SIZE.value)
    )
    start = time.perf_counter()
    images = [batch.numpy() for batch in batches]
    decoding = time.perf_counter() - start
    network = tf.saved_model.load(str(classifier.directory)).signatures["serving_default"]
    network(images=tf.constant(images[0]))
    start = time.perf_counter()
    for batch in images:
        network(images=tf.constant(batch))["class"].numpy()
    return decoding, time.perf_counter() - start


def _on_beam(pictures, classifier, folder):
    # Beam is an extra.
    from savedmodels.files.beam_job import Network, run_on_beam
    from savedmodels.files.rows import columns_of

    run_on_beam(
        pictures,
        Network(
            str(classifier.directory),
            thresholds=None,
            exit_macs=classifier.exit_macs,
            batch_size=_BATCH_SIZE.value,
        ),
        columns=columns_of(classifier.kind),
        output=folder / "on_beam",
        rows_as="jsonl",
        runner="DirectRunner",
        options=[],
    )


class _Memory:
    """Watches how many pages of memory the process holds, inside `with`, on Linux."""

    def __enter__(self):
        self._held, self._over = [], threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _look(self):
        while True:
            self._held.append(int(pathlib.Path("/proc/self/statm").read_text().split()[1]))
            if self._over.wait(_SECONDS_BETWEEN_LOOKS):
                return

    def growth(self):
        held = np.array(self._held)
        middle = max(1, len(held) // 2)
        return held[middle:].max(initial=held[-1]) / held[:middle].max()


if __name__ == "__main__":
    program.run(main, needs=("data",))
