"""A job in one process: pictures in, parts of answers out, continued where it was stopped."""

import collections
import concurrent.futures
import dataclasses
import itertools
import json
import pathlib

from tf_adaptive.errors import InputError
from tf_adaptive.files import replaced_whole

from ..classifiers import answers_or_errors
from .rows import columns_of, write_rows

_SETTINGS = "job.json"
_DONE = "parts.json"


@dataclasses.dataclass(frozen=True)
class Job:
    """What is classified by what into which folder.

    Attributes:
        pictures: of `find_input`.
        classify_many: see `savedmodels.classifiers`.
        kind: "exit" or "resolution", what an answer says beside the class.
        exit_macs: multiply-accumulates up to each exit, None where they are not known.
        output: folder of the parts, as a `pathlib.Path`.
        rows_as: one of `savedmodels.files.rows.FORMATS`.
        settings: dictionary of all that changes the answers, in values JSON can hold.
        batch_size: pictures that are classified at once.
        part_size: pictures of a part, the unit in which a stopped job continues.
        threads: batches at work at once.
    """

    pictures: object
    classify_many: object
    kind: str
    exit_macs: list | None
    output: pathlib.Path
    rows_as: str
    settings: dict
    batch_size: int
    part_size: int
    threads: int

    def prepare(self, *, resume):
        """Makes the folder, or checks that it is of this job.

        Args:
            resume: whether a job is there that was stopped.

        Raises:
            InputError: something else is there, or the job of other settings.
        """
        path = self.output / _SETTINGS
        self.output.mkdir(parents=True, exist_ok=True)
        # What was killed while it wrote leaves such a file.
        if all(inside.name.startswith(".unfinished") for inside in self.output.iterdir()):
            self._write(_SETTINGS, self.settings)
            return
        if not path.is_file():
            raise InputError(
                "`output` must be a new folder, or that of a job that was stopped. "
                f"Received: {self.output}, which holds something else."
            )
        if not resume:
            raise InputError(
                "`output` must be a new folder; --resume continues the job that is in it. "
                f"Received: {self.output}."
            )
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        for name, value in self.settings.items():
            if before.get(name) != value:
                raise InputError(
                    f"`{name}` must be what it was when the job was stopped, "
                    f"{before.get(name)!r}. Received: {name}={value!r}."
                )

    def run(self, progress):
        """Classifies what no part holds yet.

        Args:
            progress: called with the number of pictures that are done, batch by batch.

        Returns:
            What `summary_of` does of all parts; it is in `summary.json` too.

        Raises:
            InputError: a damaged file of the input.
        """
        parts = self._parts_done()
        progress(sum(part["images"] + part["failed"] for part in parts))
        pictures = self.pictures.after(len(parts) * self.part_size)
        with concurrent.futures.ThreadPoolExecutor(self.threads) as pool:
            while True:
                part = itertools.islice(pictures, self.part_size)
                rows, failed = self._classified(part, pool, progress)
                if not rows and not failed:
                    break
                parts.append(self._write_part(len(parts), rows, failed))
                self._write(_DONE, parts)
        left_at = collections.Counter()
        for part in parts:
            left_at.update(part["left_at"])
        images, failed = (sum(part[name] for part in parts) for name in ("images", "failed"))
        summary = summary_of(images, failed, left_at, self.exit_macs)
        write_summary(self.output, summary)
        return summary

    def _parts_done(self):
        path = self.output / _DONE
        if not path.exists():
            return []
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(
                f"{path} must be as the job wrote it; start again in a new folder. "
                f"Received: {str(error).rstrip('.')}."
            ) from error

    def _classified(self, pictures, pool, progress):
        """The answers to some pictures, in their order, and those that have none."""
        rows, failed = [], []
        at_work = collections.deque()

        def collect():
            answered = at_work.popleft().result()
            for name, answer in answered:
                if isinstance(answer, InputError):
                    failed.append(failed_row(name, answer))
                else:
                    rows.append({"path": name, **answer})
            progress(len(answered))

        for batch in iter(lambda: list(itertools.islice(pictures, self.batch_size)), []):
            at_work.append(pool.submit(self._answers, batch))
            # The next one is read meanwhile, and no more than that.
            if len(at_work) > self.threads:
                collect()
        while at_work:
            collect()
        return rows, failed

    def _answers(self, batch):
        """Pairs of a name and an answer, or what the picture was refused with."""
        # By place in the batch: names in a tar file may be there twice.
        files, answered = {}, {}
        for place, (_, read) in enumerate(batch):
            try:
                files[place] = read()
            except InputError as error:
                answered[place] = error
        answers = answers_or_errors(self.classify_many, list(files.values()))
        answered |= zip(files, answers, strict=True)
        return [(name, answered[place]) for place, (name, _) in enumerate(batch)]

    def _write_part(self, number, rows, failed):
        """Writes a part whole, and gives its counts."""
        with replaced_whole(self.output / f"part-{number:05}.{self.rows_as}") as temporary:
            write_rows(temporary, rows, columns_of(self.kind), self.rows_as)
        if failed:
            with replaced_whole(self.output / f"failed-{number:05}.jsonl") as temporary:
                write_rows(temporary, failed, ("path", "reason"), "jsonl")
        left_at = collections.Counter(str(row[self.kind]) for row in rows)
        return {"images": len(rows), "failed": len(failed), "left_at": left_at}

    def _write(self, name, content):
        _write_json(self.output / name, content)


def summary_of(images, failed, left_at, exit_macs):
    """What a job says in the end.

    Args:
        images: that were classified.
        failed: pictures that could not be read.
        left_at: dictionary from an exit or resolution, as text, to its images.
        exit_macs: see `Job`.

    Returns:
        Dictionary of "images", "failed", "left_at", and where they are known "mean_macs" of an
        image and "whole_network_macs".
    """
    summary = {
        **{"images": images, "failed": failed},
        "left_at": {at: left_at[at] for at in sorted(left_at, key=int)},
    }
    if exit_macs and images:
        macs = sum(count * exit_macs[int(at) - 1] for at, count in left_at.items())
        summary |= {"mean_macs": macs / images, "whole_network_macs": exit_macs[-1]}
    return summary


def write_summary(output, summary):
    """Writes `summary.json` into a job's folder."""
    _write_json(output / "summary.json", summary)


def failed_row(name, error):
    """A picture that was refused, as a row of `failed-00000.jsonl`."""
    return {"path": name, "reason": " ".join(str(error).split())}


def _write_json(path, content):
    with replaced_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
