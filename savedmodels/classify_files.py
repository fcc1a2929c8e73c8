"""Classifies any number of pictures, into files of answers.

    python -m savedmodels.classify_files --input 'photos/**/*.jpg' --model_dir served/digits \
        --output answers
    python -m savedmodels.classify_files --input 'shards/*.tar' --model_dir served/digits \
        --output answers --format parquet

--input is a folder, a pattern of pictures, a file .txt with a path a line, or a pattern of .tar
(webdataset) or .tfrecord files (tf.train.Example with image/encoded or image).

OUTPUT gets parts of --part_size pictures: part-00000.jsonl and so on with path, class, label,
confidence, and exit or resolution, in the order of the input and each picture once; beside them
failed-00000.jsonl where a part had pictures that cannot be read, with the reason, and in the end
summary.json. Every part is whole or not there, and --resume continues after the last one. The
exit status is 1 where a picture failed.

--runner beam:NAME runs the same on Apache Beam (the extra `beam`), whose workers must see the same
paths; parts are the runner's, in no order.
"""

import importlib
import os
import pathlib
import sys

import tqdm
from absl import flags

from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.extras import check_extra
from tf_adaptive.programs import program

from .classifiers import load_classifier
from .files.job import Job, write_summary
from .files.pictures import find_input
from .files.rows import FORMATS, columns_of

_INPUT = flags.DEFINE_string("input", None, "pictures to classify, see above", required=True)
_MODEL_DIR = flags.DEFINE_string(
    "model_dir", None, "exported or converted network, as savedmodels.predict takes", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "new folder for the answers", required=True)
_FORMAT = flags.DEFINE_string("format", "jsonl", "of the parts: jsonl, csv or parquet")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "pictures that are classified at once")
_PART_SIZE = flags.DEFINE_integer("part_size", 10_000, "pictures in a part")
_THREADS = flags.DEFINE_integer(
    "threads", None, "batches at work at once; one more than processors, at most 4, if unset"
)
_THRESHOLDS = flags.DEFINE_list(
    "thresholds", None, "in place of the network's own, as savedmodels.predict takes"
)
_RUNNER = flags.DEFINE_string(
    "runner", "local", "local: this process; beam:NAME: a runner of Apache Beam, as DirectRunner"
)
_BEAM_OPTION = flags.DEFINE_multi_string(
    "beam_option", [], "an option of Beam's, as --beam_option=--direct_num_workers=2; many of them"
)
_RESUME = flags.DEFINE_bool("resume", False, "continue the job that was stopped in --output")

_FAILED_STATUS = 1
_MOST_THREADS = 4


def main():
    check_choice("format", _FORMAT.value, FORMATS)
    for flag in (_BATCH_SIZE, _PART_SIZE, _THREADS):
        if flag.value is not None:
            check_whole(flag.name, flag.value, least=1)
    if _FORMAT.value == "parquet":
        check_extra("parquet")
    where, _, runner = _RUNNER.value.partition(":")
    if _RUNNER.value != "local" and (where != "beam" or not runner):
        raise InputError(
            f"`runner` must be local or beam:NAME, as beam:DirectRunner. Received: {_RUNNER.value}."
        )
    if runner:
        check_extra("beam")
    pictures = find_input(_INPUT.value)
    thresholds = program.numbers(_THRESHOLDS, none="off")
    classifier = load_classifier(_MODEL_DIR.value, thresholds=thresholds)
    if runner:
        summary = _on_beam(pictures, classifier, thresholds, runner)
    else:
        summary = _here(pictures, classifier)
    _tell(summary, classifier.kind)
    if summary["failed"]:
        sys.exit(_FAILED_STATUS)


def _on_beam(pictures, classifier, thresholds, runner):
    output = pathlib.Path(_OUTPUT.value)
    if _RESUME.value or (output.exists() and any(output.iterdir())):
        raise InputError(
            "`output` must be a new folder, and `resume` is for the local runner alone. "
            f"Received: {output}."
        )
    if classifier.threads == 1:
        raise InputError(
            "`model_dir` must be a SavedModel of savedmodels.export on Beam, whose workers have "
            f"several threads. Received: {_MODEL_DIR.value}, for LiteRT."
        )
    # Beam is an extra, and takes seconds to import.
    beam_job = importlib.import_module(".files.beam_job", __package__)
    summary = beam_job.run_on_beam(
        pictures,
        beam_job.Network(
            str(classifier.directory),
            thresholds=thresholds,
            exit_macs=classifier.exit_macs,
            batch_size=_BATCH_SIZE.value,
        ),
        columns=columns_of(classifier.kind),
        output=output,
        rows_as=_FORMAT.value,
        runner=runner,
        options=_BEAM_OPTION.value,
    )
    write_summary(output, summary)
    return summary


def _here(pictures, classifier):
    threads = _THREADS.value or min(_MOST_THREADS, 1 + (os.cpu_count() or 1))
    job = Job(
        pictures=pictures,
        classify_many=classifier.many,
        kind=classifier.kind,
        exit_macs=classifier.exit_macs,
        output=pathlib.Path(_OUTPUT.value),
        rows_as=_FORMAT.value,
        settings={
            **{"input": _INPUT.value, "pictures": pictures.mark()},
            **{"model_dir": str(classifier.directory), "network": classifier.mark},
            "thresholds": _THRESHOLDS.value,
            **{"format": _FORMAT.value, "part_size": _PART_SIZE.value},
        },
        batch_size=_BATCH_SIZE.value,
        part_size=_PART_SIZE.value,
        threads=min(threads, classifier.threads or threads),
    )
    job.prepare(resume=_RESUME.value)
    bar = tqdm.tqdm(total=pictures.count, unit=" images", disable=not sys.stderr.isatty())
    with bar:
        return job.run(bar.update)


def _tell(summary, kind):
    print(f"{summary['images']:,} images classified, {summary['failed']:,} could not be read.")
    for at, count in summary["left_at"].items():
        print(f"  {kind} {at:>3}  {count / summary['images']:6.1%}")
    if "mean_macs" in summary:
        share = summary["mean_macs"] / summary["whole_network_macs"]
        print(
            f"{summary['mean_macs'] / 1e6:.2f} M MACs an image, {share:.0%} of the whole network's."
        )
    print(f"Answers: {_OUTPUT.value}")


if __name__ == "__main__":
    program.run(main)
