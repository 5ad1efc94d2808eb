"""Journals of workers: one for each process, in a folder that all machines share.

Not every network file system can lock a file that several machines append to. So each process
keeps a journal of its own, with rows as the run's journal has them, and the driver takes them over.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from restora.cluster.rows import Row, is_row, outcome_of
from restora.jobs.blame import CrashBlame
from restora.jobs.disk import found_at
from restora.jobs.inputs import RESULT_FORMATS
from restora.jobs.journal import Journal
from restora.jobs.journal_rows import Row as JournalRow
from restora.jobs.journal_rows import iter_rows
from restora.jobs.plan import Job
from restora.jobs.records import History
from restora.jobs.run_journal import RunJournal

_ROW = "row"  # key of the row of results in the row of the journal
_FATAL = "error.txt"


class WorkerJournal:
    """The journal of this process; inputs are named by their absolute paths.

    folder: shared by all workers and the driver
    recipes: the recipe of a result, by its format
    """

    def __init__(self, folder: Path, recipes: Mapping[str, str]) -> None:
        self._journal = Journal(folder / f"{uuid.uuid4().hex}.jsonl", shared=False)
        self._run = RunJournal(
            self._journal, lambda target: recipes[RESULT_FORMATS[target.suffix.lower()]], None
        )

    def begin(self, source: str, target: str) -> None:
        self._run.begin(Job(Path(source), Path(target), found=found_at(Path(target))))

    def end(self, row: Row) -> None:
        """Record a row of results. An input that is not open is begun first."""
        job = Job(Path(row["input"]), Path(row["output"]))
        if not self._journal.is_open(self._run.name(job.source)):
            self.begin(row["input"], row["output"])
        self._run.end(job, outcome_of(job.source, job.target, row, None), **{_ROW: row})

    def crashed(self, sources: Sequence[str]) -> None:
        """Record that the process which worked on these died."""
        self._journal.crashed(sources)

    def close(self) -> None:
        self._journal.close()


@dataclass(frozen=True, slots=True)
class Attempts:
    """What all journals of workers say.

    rows: of each input that was ended
    blame: inputs that crashed processes
    """

    rows: dict[str, Row] = field(default_factory=dict)
    blame: CrashBlame = field(default_factory=CrashBlame)


def write_fatal_error(folder: Path, words: str) -> None:
    """Record an error that is no photo's fault: the driver ends the run with it."""
    (folder / _FATAL).write_text(words)


def read_fatal_error(folder: Path) -> str | None:
    """The error that a worker recorded, if one did."""
    path = folder / _FATAL
    return path.read_text() if path.exists() else None


def count_logs(folder: Path) -> int:
    """Number of processes that have begun to write there."""
    return sum(1 for _ in folder.glob("*.jsonl"))


def read_attempts(folder: Path) -> Attempts:
    """Read all journals. One with open inputs at its end is that of a process that died, or that is
    at work."""
    found = Attempts()
    for rows in _read_all(folder):
        history = History()
        for row in rows:
            history.take(row)
            if row["event"] == "end" and is_row(row.get(_ROW)):
                found.rows[row["input"]] = row[_ROW]
        history.crash()
        found.blame.add(history.blame)
    return found


def iter_journals(folder: Path) -> Iterator[list[JournalRow]]:
    """The rows of each worker's journal, as the run's own journal has them."""
    for rows in _read_all(folder):
        yield [{key: value for key, value in row.items() if key != _ROW} for row in rows]


def _read_all(folder: Path) -> Iterator[list[JournalRow]]:
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as stream:
            yield list(iter_rows(stream))
