"""The job on Apache Beam: the same answers from any runner and any number of workers."""

import json

import apache_beam as beam
from apache_beam.io.parquetio import WriteToParquet
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from tf_adaptive.errors import InputError

from ..classifiers import answers_or_errors, load_classifier
from .job import failed_row, summary_of
from .pictures import pictures_in
from .rows import csv_head, csv_line, parquet_schema

_COUNTERS = "classify_files"
_FAILED = "failed"


def run_on_beam(pictures, network, *, columns, output, rows_as, runner, options):
    """Classifies pictures into `OUTPUT/part-00000-of-00003.jsonl` and so on.

    Args:
        pictures: `Pictures`, whose paths are the same for all workers.
        network: `Network`.
        columns: of a row; the last is "exit" or "resolution".
        output: new folder, as a `pathlib.Path`.
        rows_as: see `write_rows`.
        runner: name of the runner, as "DirectRunner".
        options: list of the pipeline's options, as `["--direct_num_workers=2"]`.

    Returns:
        What `Job.run` does.

    Raises:
        InputError: an option that Beam refuses.
    """
    try:
        pipeline_options = PipelineOptions(options, runner=runner)
        pipeline = beam.Pipeline(options=pipeline_options)
    except (ValueError, SystemExit) as error:
        reason = str(error).rstrip(".")
        raise InputError(
            f"`runner` must be a runner of Apache Beam, with options of it. Received: {reason}."
        ) from error
    read = (
        pipeline
        | "paths" >> beam.Create(pictures.paths)
        | "shared out" >> beam.Reshuffle()
        | "read" >> beam.ParDo(_Read(pictures.kind)).with_outputs(_FAILED, main="read")
    )
    answered = (
        read.read
        | "classify" >> RunInference(KeyedModelHandler(network))
        | "rows" >> beam.ParDo(_Rows(columns[-1])).with_outputs(_FAILED, main="rows")
    )
    _write(answered.rows, columns, output, rows_as)
    reasons = (
        (read[_FAILED], answered[_FAILED])
        | "all failed" >> beam.Flatten()
        | "reasons" >> beam.ParDo(_Reasons())
    )
    reasons | "write reasons" >> beam.io.WriteToText(
        str(output / "failed"), file_name_suffix=".jsonl", skip_if_empty=True
    )
    result = pipeline.run()
    result.wait_until_finish()
    counted = {
        counter.key.metric.name: counter.committed
        for counter in result.metrics().query()["counters"]
        if counter.key.metric.namespace == _COUNTERS
    }
    left_at = {
        name.partition(" ")[2]: count
        for name, count in counted.items()
        if name.startswith(columns[-1])
    }
    return summary_of(sum(left_at.values()), counted.get(_FAILED, 0), left_at, network.exit_macs)


class Network(ModelHandler):
    """What loads the classifier in a worker, and runs it.

    Args:
        model_dir, thresholds: see `load_classifier`.
        exit_macs: of the classifier.
        batch_size: pictures that are classified at once.
    """

    def __init__(self, model_dir, *, thresholds, exit_macs, batch_size):
        super().__init__(max_batch_size=batch_size)
        self._model_dir, self._thresholds = model_dir, thresholds
        self.exit_macs = exit_macs

    def load_model(self):
        return load_classifier(self._model_dir, thresholds=self._thresholds)

    def run_inference(self, batch, model, inference_args=None):
        return answers_or_errors(model.many, list(batch))


class _Read(beam.DoFn):
    """From paths to names and files of pictures."""

    def __init__(self, kind):
        self._kind = kind

    def process(self, path):
        for name, read in pictures_in(path, self._kind):
            try:
                yield name, read()
            except InputError as error:
                yield beam.pvalue.TaggedOutput(_FAILED, (name, error))


class _Rows(beam.DoFn):
    """From names and answers to rows, counted."""

    def __init__(self, kind):
        self._kind = kind

    def process(self, named):
        name, answer = named
        if isinstance(answer, InputError):
            yield beam.pvalue.TaggedOutput(_FAILED, named)
            return
        Metrics.counter(_COUNTERS, f"{self._kind} {answer[self._kind]}").inc()
        yield {"path": name, **answer}


class _Reasons(beam.DoFn):
    """From names and what they were refused with to lines, counted."""

    def process(self, named):
        Metrics.counter(_COUNTERS, _FAILED).inc()
        yield json.dumps(failed_row(*named))


def _write(rows, columns, output, rows_as):
    prefix, suffix = str(output / "part"), f".{rows_as}"
    if rows_as == "parquet":
        rows | "write" >> WriteToParquet(prefix, parquet_schema(columns), file_name_suffix=suffix)
        return
    if rows_as == "jsonl":
        lines, head = rows | "lines" >> beam.Map(json.dumps), None
    else:
        lines, head = rows | "lines" >> beam.Map(csv_line, columns), csv_head(columns)
    lines | "write" >> beam.io.WriteToText(prefix, file_name_suffix=suffix, header=head)
