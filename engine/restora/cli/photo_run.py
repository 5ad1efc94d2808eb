"""A run of `restora restore`: do, tell and write down what is left to do."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from restora.atomic import remove_partial
from restora.cli.report import (
    progress_bar,
    report_beginning,
    report_outcome,
    report_speed,
    summarize,
)
from restora.cli.stopping import graceful_shutdown
from restora.errors import OptionError
from restora.exit_codes import ExitCode
from restora.image import PhotoLimits
from restora.image.isolated import start_decoder
from restora.jobs.batch import exit_code_of_run, run_jobs, untried
from restora.jobs.files import fingerprint
from restora.jobs.journal import Journal
from restora.jobs.lock import OutputLocks
from restora.jobs.memory import PhotoMemory
from restora.jobs.outcome import Outcome
from restora.jobs.output import WriteOptions
from restora.jobs.photo_flow import PhotoFlow, Stages
from restora.jobs.plan import RESULT_FORMATS, Job, measure
from restora.jobs.recipe import recipe_hash, writing_settings
from restora.jobs.run_journal import RunJournal, in_order, require_an_outcome_each
from restora.malloc import return_freed_memory
from restora.pipeline import Restorer


@dataclass(frozen=True, slots=True)
class PhotoRun:
    """root: that inputs are named from; manifest: None if none is kept; memory: bytes, of the whole
    process."""

    jobs: list[Job]
    root: Path
    manifest: Path | None
    writing: WriteOptions
    outscale: float | None
    aligned: bool
    limits: PhotoLimits
    memory: int | None
    overwrite: bool
    retry_failed: bool
    stop_at_error: bool
    json_lines: bool
    _outcomes: list[Outcome] = field(default_factory=list, init=False)

    def run(self, open_restorer: Callable[[], Restorer]) -> ExitCode:
        """Do what is left. The networks are opened only if something may be."""
        started = time.perf_counter()
        try:
            if any(job.is_left for job in self.jobs):
                start_decoder()
                if self.memory is not None:
                    return_freed_memory()
                with contextlib.ExitStack() as stack:
                    restorer = stack.enter_context(open_restorer())
                    self._restore(restorer, self._open_ledger(restorer, stack))
            else:
                self._take_all([untried(job) for job in self.jobs])
        finally:
            # also of a run that ends early: what is done is done
            summarize(self._outcomes, time.perf_counter() - started, self.json_lines)
        require_an_outcome_each(self.jobs, self._outcomes)
        return exit_code_of_run(self._outcomes)

    def _restore(self, restorer: Restorer, ledger: RunJournal | None) -> None:
        left = self._settle(ledger)
        if not any(job.is_left for job in left):
            self._take_all([untried(job) for job in left])
            return
        report_beginning(restorer, left)
        stages = Stages.around(restorer)
        left = [measure(job, self.limits) if job.is_left else job for job in left]
        started = time.perf_counter()
        to_do = [job for job in left if job.is_left]
        with contextlib.ExitStack() as stack:
            stopping = stack.enter_context(graceful_shutdown()) if len(to_do) > 1 else None
            progress = stack.enter_context(progress_bar(to_do))
            locks = stack.enter_context(contextlib.closing(OutputLocks()))

            def begin(job: Job) -> None:
                locks.acquire(job.target)
                self._require_as_planned(job)
                if ledger is not None:
                    ledger.begin(job)
                else:  # a ledger knows which of many photos a killed run was working on
                    remove_partial(job.target)
                    job.extras.remove_partial()

            flow: PhotoFlow[Job] = PhotoFlow(
                restorer,
                stages,
                self.writing,
                PhotoMemory(restorer, self.memory),
                outscale=self.outscale,
                aligned=self.aligned,
                limits=self.limits,
                begin=begin,
                progress=progress.update,
                header_of=lambda job: job.known_header,
            )
            for outcome in run_jobs(
                left,
                flow,
                stop_at_error=self.stop_at_error,
                progress=progress,
                ledger=ledger,
                locks=locks,
                stopping=lambda: bool(stopping),
            ):
                self._take(outcome)
        if not self.json_lines:
            report_speed(restorer, stages, time.perf_counter() - started)
        if stopping is not None:
            stopping.end()

    def _settle(self, ledger: RunJournal | None) -> list[Job]:
        """The jobs, with what earlier runs say of them."""
        if ledger is None:
            return self.jobs
        return in_order(
            list(ledger.settle(self.jobs, overwrite=self.overwrite, retry_failed=self.retry_failed))
        )

    def _require_as_planned(self, job: Job) -> None:
        """Raise OptionError if another program wrote the result since this run was planned."""
        found = fingerprint(job.target) if os.path.lexists(job.target) else None
        if not self.overwrite and found != job.found:
            raise OptionError(
                f"{job.target} was written by another program during this run: give --overwrite "
                "to replace it"
            )

    def _open_ledger(self, restorer: Restorer, stack: contextlib.ExitStack) -> RunJournal | None:
        if self.manifest is None:
            return None
        manifest = stack.enter_context(contextlib.closing(Journal(self.manifest)))

        @functools.cache
        def recipe_of_format(format_: str) -> str:
            settings = writing_settings(
                restorer,
                format_,
                outscale=self.outscale,
                quality=self.writing.quality,
                strip_metadata=self.writing.strip_metadata,
                aligned=self.aligned,
            )
            return recipe_hash(restorer, settings)

        return RunJournal(
            manifest,
            lambda target: recipe_of_format(RESULT_FORMATS[target.suffix.lower()]),
            self.root,
        )

    def _take(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        report_outcome(outcome, self.json_lines, single=len(self.jobs) == 1)

    def _take_all(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self._take(outcome)
