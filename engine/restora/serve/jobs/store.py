"""Jobs on disk: one JSON file for each, and its results as JSON lines."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from restora.atomic import write_atomically
from restora.errors import OptionError, RestoraError
from restora.jobs.lock import output_lock
from restora.serve.jobs.job import Job, JobRequest

logger = logging.getLogger(__name__)

_FOLDER, _LOCK = "jobs", "server"
_KEPT = ("id", "client", "state", "created", "started", "ended", "resumed", "done", "failed",
         "skipped", "total", "fraction", "problem")  # fmt: skip


class JobStore:
    """The records of one server, which no other may use at the same time.

    state: the folder; it is made

    Raises OptionError if another server uses it, OutputError if it cannot be written.
    """

    def __init__(self, state: Path) -> None:
        self._folder = state / _FOLDER
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise OptionError(f"jobs cannot be recorded in {state}: {error.strerror}") from error
        self._held = contextlib.ExitStack()
        try:
            self._held.enter_context(output_lock(state / _LOCK))
        except OptionError as error:
            raise OptionError(f"another server records its jobs in {state}") from error

    def load(self) -> list[Job]:
        """All jobs, oldest first. A file that is no record is left out, with a warning."""
        found = filter(None, map(_read, self._folder.glob("*.json")))
        return sorted(found, key=lambda job: (job.created, job.id))

    def save(self, job: Job) -> None:
        record = {name: getattr(job, name) for name in _KEPT}
        request = job.request
        record["request"] = [request.kind, request.input, request.output, dict(request.parameters)]
        write_atomically(self._path(job), json.dumps(record).encode())

    def remove(self, job: Job) -> None:
        self._path(job).unlink(missing_ok=True)
        self._rows(job).unlink(missing_ok=True)

    def begin_rows(self, job: Job) -> None:
        """Forget the results of an earlier try."""
        self._rows(job).write_bytes(b"")

    def add_row(self, job: Job, row: dict[str, Any]) -> None:
        with self._rows(job).open("ab") as stream:
            stream.write(json.dumps(row).encode() + b"\n")

    def read_rows(self, job: Job, start: int = 0) -> Iterator[dict[str, Any]]:
        """The results from number `start` on."""
        with contextlib.suppress(FileNotFoundError), self._rows(job).open("rb") as stream:
            for number, line in enumerate(stream):
                if number >= start and line.endswith(b"\n"):
                    yield json.loads(line)

    def close(self) -> None:
        self._held.close()

    def _path(self, job: Job) -> Path:
        return self._folder / f"{job.id}.json"

    def _rows(self, job: Job) -> Path:
        return self._folder / f"{job.id}.results.jsonl"


def _read(path: Path) -> Job | None:
    try:
        return _job_from(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, RestoraError) as error:
        logger.warning("%s is no record of a job: %s", path, error)
        return None


def _job_from(record: dict[str, Any]) -> Job:
    kind, source, output, parameters = record["request"]
    job = Job(JobRequest(kind, source, output, parameters), str(record["client"]))
    for name in _KEPT:
        setattr(job, name, record[name])
    return job
