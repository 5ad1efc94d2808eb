"""What a run records, and what it takes over from earlier runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from restora.atomic import remove_partial
from restora.errors import OptionError, RestoraError
from restora.exit_codes import ExitCode, code_of_type
from restora.jobs.blame import MAX_CRASHES
from restora.jobs.disk import (
    FOLDER,
    Stamp,
    digest_of_file,
    digest_or_none,
    fingerprint,
    is_folder,
    stamps_of,
)
from restora.jobs.extras import Extras, FaceFiles
from restora.jobs.inputs import Failure
from restora.jobs.journal import Journal, read_results
from restora.jobs.journal_rows import Row
from restora.jobs.lock import remove_stale_lock
from restora.jobs.outcome import Outcome
from restora.jobs.plan import Job
from restora.jobs.records import InputRecord
from restora.jobs.resume import Asked, Decision, Wanted, decide, extra_name, quarantine

FILE = Path(FOLDER, "manifest.jsonl")
_MOST_REASON = 2000  # characters that are recorded
# these are no fault of the photo
_NO_FAULT = (ExitCode.ENVIRONMENT, ExitCode.USAGE)


@dataclass(frozen=True, slots=True)
class RunJournal:
    """Decides over the inputs of one run by its journal, and records how they end.

    recipe_of: the recipe of the result at a path
    root: the folder that names of inputs are relative to; None: names are paths
    """

    journal: Journal
    recipe_of: Callable[[Path], str]
    root: Path | None
    _folders: dict[str, str] = field(default_factory=dict)

    def name(self, source: Path) -> str:
        return (source if self.root is None else source.relative_to(self.root)).as_posix()

    def resolve(self, jobs: Iterable[Job], *, overwrite: bool, retry_failed: bool) -> Iterator[Job]:
        """Yield each job: skipped if its result exists, failed if another file lies in its place or
        if it failed or crashed in earlier runs, else to be restored."""
        saved = FaceFiles()
        for job in jobs:
            if not job.is_left:
                yield job
                continue
            past = self.journal.record(self.name(job.source))
            if past is not None and past.status is None:
                remove_partial(job.target)
                job.extras.remove_partial()
            decision = decide(
                past, self._wanted(job, past, saved), overwrite=overwrite, retry_failed=retry_failed
            )
            if decision.action not in ("do", "redo"):  # a job that begins takes its lock itself
                remove_stale_lock(job.target)
            if decision.finished:
                self._end_restored(job)
            yield _apply(decision, job, past)

    def begin(self, job: Job) -> None:
        found = None if job.found is None else list(job.found)
        stamp, changed_ns = stamps_of(job.source)
        self.journal.begin(
            self.name(job.source),
            recipe=self.recipe_of(job.target),
            stamp=stamp,
            source=self._path_of(job.source),
            changed_ns=changed_ns,
            found=found,
        )

    def retry(self, jobs: Sequence[Job], *, overwrite: bool) -> Iterator[Job]:
        """Record that a worker process ended while these jobs were open in it, and yield each as
        the crash rules leave it: to be restored alone, or failed after too many crashes."""
        names = [self.name(job.source) for job in jobs]
        self.journal.crashed(names)
        for name, job in zip(names, jobs, strict=True):
            past = self.journal.record(name)
            # flags that try again what crashed in earlier runs must come to an end in this one
            if past is not None and past.crashes >= MAX_CRASHES:
                yield _apply(quarantine(past.crashes), job, past)
            else:
                yield from self.resolve([job], overwrite=overwrite, retry_failed=False)

    def import_rows(self, every: Iterable[Iterable[Row]], jobs: Mapping[str, Job]) -> None:
        """Take over what other processes recorded, unless it is known how an input ended.

        every: the rows of each of their journals; what is open at the end of one was open when its
            process died
        jobs: by the names of their inputs there; other inputs are left out
        """
        for rows in every:
            begun: set[str] = set()
            for row in rows:
                if row["event"] == "killed":
                    self._import_crash(row.get("inputs", begun), jobs)
                    begun.clear()
                    continue
                (begun.add if row["event"] == "begin" else begun.discard)(row["input"])
                job = jobs.get(row["input"])
                if job is not None and not self._is_ended(job, row):
                    self.journal.add({**row, "input": self.name(job.source)})
            self._import_crash(begun, jobs)

    def _import_crash(self, inputs: Iterable[str], jobs: Mapping[str, Job]) -> None:
        names = [self.name(jobs[name].source) if name in jobs else name for name in inputs]
        if any(map(self.journal.is_open, names)):
            self.journal.crashed(names)

    def _is_ended(self, job: Job, begin: Row) -> bool:
        """Whether a row to take over is of an attempt that needs none: the input's end is known."""
        name = self.name(job.source)
        past = self.journal.record(name)
        if begin["event"] == "end":
            return not self.journal.is_open(name)
        same = past is not None and [past.recipe, list(past.stamp)] == [
            begin["recipe"], begin["stamp"],
        ]  # fmt: skip
        return same and past is not None and past.status is not None

    def import_outcome(self, job: Job, outcome: Outcome, *, recipe: str, stamp: Stamp) -> None:
        """Record an outcome that was reached without a journal, unless it is known."""
        name = self.name(job.source)
        past = self.journal.record(name)
        if past is not None and (past.recipe, past.stamp) == (recipe, stamp) and past.status:
            return
        self.journal.begin(name, recipe=recipe, stamp=stamp, source=self._path_of(job.source))
        self.end(job, outcome)

    def end(self, job: Job, outcome: Outcome, **facts: object) -> None:
        """Record how an open input ended. facts: more values of the row"""
        name = self.name(job.source)
        if not self.journal.is_open(name):
            return
        if outcome.status == "restored":
            self._end_restored(job, outcome, **facts)
        else:
            status, reasons = failure_facts(outcome.error_type, outcome.reason)
            self.journal.end(name, status, **reasons, **facts)

    def _end_restored(self, job: Job, outcome: Outcome | None = None, **facts: object) -> None:
        if outcome is not None:
            facts["ms"] = round(1000 * (outcome.seconds or 0))
        name = self.name(job.source)
        past = self.journal.record(name)
        if past is not None and past.stamp == fingerprint(job.source):
            # the input is still the one that was restored
            known_source = None if outcome is None else outcome.source_sha256
            facts["source_sha256"] = known_source or digest_or_none(job.source)
        known = None if outcome is None else outcome.sha256
        faces = None if outcome is None else len(outcome.faces or ())
        extras = job.extras.existing() if faces is None else job.extras.written(faces)
        self.journal.end(
            name,
            "restored",
            output=str(job.target),
            sha256=known or digest_of_file(job.target),
            made=list(fingerprint(job.target)),
            extras={extra_name(path, job.target): digest_of_file(path) for path in extras},
            asked=sorted(_asked(job.extras)),
            **facts,
        )

    def _wanted(self, job: Job, past: InputRecord | None, saved: FaceFiles) -> Wanted:
        result = None if past is None else past.result
        asked = _asked(job.extras)
        missing = not all(os.path.lexists(path) for path in job.extras.files)
        if result is not None and "faces" in asked:
            known = (job.target.parent / name for name, _ in result.extras)
            missing = missing or not all(os.path.lexists(path) for path in known)
        stamp, changed_ns = stamps_of(job.source)
        return Wanted(
            job.target,
            self.recipe_of(job.target),
            stamp,
            self._path_of(job.source),
            asked,
            job.extras.existing(saved),
            missing,
            changed_ns,
        )

    def _path_of(self, source: Path) -> str:
        """The absolute path of an input, with the links of its folder resolved, once each."""
        folder = str(source.parent)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], source.name)  # noqa: PTH118


def failure_facts(error_type: str | None, reason: str | None) -> tuple[str, dict[str, object]]:
    """The status and the facts of the row for an input that was not restored: an error that is no
    fault of the input interrupts it."""
    code, words = code_of_type(error_type), (reason or "")[:_MOST_REASON]
    if code in _NO_FAULT:
        return "interrupted", {"reason": words}
    return "failed", {"error_type": error_type, "reason": words, "exit_code": int(code)}


def known_results(manifest: Path | None, source: Path, output: Path) -> list[Path]:
    """The files that earlier runs wrote into the input folder, if it is the output folder too."""
    if manifest is None or not (is_folder(output) and is_folder(source)):
        return []
    if not source.samefile(output):
        return []
    found = []
    for name, result in read_results(manifest):
        folder = (output / name).parent
        target = folder / Path(result.output).name
        found += [target, *(target.parent / extra for extra, _ in result.extras)]
    return found


def suspects_last(jobs: list[Job]) -> list[Job]:
    """Sort suspects of crashes behind the other jobs, the most frequent last, so that everything
    else is done by then."""
    return sorted(jobs, key=lambda job: (job.alone, job.crashes))


def _apply(decision: Decision, job: Job, past: InputRecord | None) -> Job:
    why = decision.why
    if decision.action == "leave":
        return replace(job, skip=why)
    if decision.action == "refuse":
        return replace(job, failure=Failure(OptionError.__name__, why))
    if decision.action == "quarantined":
        return replace(job, failure=Failure("Quarantined", why))
    if decision.action == "failed":
        kind = None if past is None else past.error_type
        return replace(job, failure=Failure(kind or RestoraError.__name__, why))
    crashes = past.crashes if past is not None and decision.alone else 0
    return replace(job, alone=decision.alone, crashes=crashes, note=why or None)


def _asked(extras: Extras) -> frozenset[Asked]:
    asked: set[Asked] = set()
    if extras.comparison is not None:
        asked.add("compare")
    if extras.faces is not None:
        asked.add("faces")
    if extras.mask is not None:
        asked.add("mask")
    return frozenset(asked)
