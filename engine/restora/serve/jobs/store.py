"""Jobs on disk: one JSON file for each, and its results as JSON lines."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import Any

from restora.atomic import write_atomically
from restora.errors import OptionError, OutputError, RestoraError
from restora.jobs.lock import output_lock
from restora.serve.jobs.job import Job, JobRequest

logger = logging.getLogger(__name__)

MOST_ROWS = 1000  # of results, in one answer
_FOLDER, _LOCK = "jobs", "server"
_KEPT = ("id", "client", "state", "created", "started", "ended", "resumed", "killed", "killed_at",
         "done", "failed", "skipped", "total", "fraction", "problem")  # fmt: skip
_LATER = {"killed", "killed_at"}  # which older records lack


class RowReader:
    """Reads the results of a job as they arrive, each once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = self._number = 0

    def read(self, first: int = 0, most: int | None = None) -> list[tuple[int, dict[str, Any]]]:
        """Results that were not read yet, with their numbers from 0 on.

        first: number of the first one, those before it are passed over; most: how many
        """
        found: list[tuple[int, dict[str, Any]]] = []
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as stream:
            stream.seek(self._offset)
            for line in stream:
                # one without an end is being written
                if not line.endswith(b"\n") or (most is not None and len(found) >= most):
                    break
                if self._number >= first:
                    found.append((self._number, json.loads(line)))
                self._number += 1
                self._offset += len(line)
        return found


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

    def clear_rows(self, job: Job) -> None:
        """Forget the results of an earlier run. Raises OutputError."""
        try:
            self._rows(job).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self._rows(job)} cannot be removed: {error.strerror}") from error

    def add_row(self, job: Job, row: dict[str, Any]) -> None:
        with self._rows(job).open("ab") as stream:
            stream.write(json.dumps(row).encode() + b"\n")

    def rows(self, job: Job) -> RowReader:
        return RowReader(self._rows(job))

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
        if name in record or name not in _LATER:
            setattr(job, name, record[name])
    return job
