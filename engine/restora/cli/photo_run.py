"""A run of `restora restore`: what is left to do is done, told and written down."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from restora.cli.batch import exit_code_of_run, run_jobs, skipped
from restora.cli.exits import ExitCode
from restora.cli.jobs import Ext, Job
from restora.cli.ledger import Ledger, in_order, require_an_outcome_each
from restora.cli.report import (
    progress_bar,
    report_beginning,
    report_outcome,
    report_speed,
    summarise,
)
from restora.cli.stopping import finishing_first
from restora.flow import Outcome, PhotoFlow, PhotoMemory, Stages, WriteOptions
from restora.image import PixelLimits
from restora.pipeline import Restorer
from restora.runs import Manifest, recipe_hash


@dataclass(frozen=True, slots=True)
class PhotoRun:
    """root: that inputs are named from; manifest: None if none is kept; memory: bytes, of the whole
    process."""

    jobs: list[Job]
    root: Path
    manifest: Path | None
    writing: WriteOptions
    outscale: float | None
    ext: Ext
    aligned: bool
    limits: PixelLimits
    memory: int | None
    overwrite: bool
    retry_failed: bool
    stop_at_error: bool
    json_lines: bool
    _outcomes: list[Outcome] = field(default_factory=list, init=False)

    def run(self, open_restorer: Callable[[], Restorer]) -> ExitCode:
        """Do what is left. The networks are opened only if something may be."""
        started = time.perf_counter()
        if any(job.skip is None for job in self.jobs):
            with contextlib.ExitStack() as stack:
                restorer = stack.enter_context(open_restorer())
                self._restore(restorer, self._open_ledger(restorer, stack))
        else:
            self._take_all([skipped(job) for job in self.jobs])
        summarise(self._outcomes, time.perf_counter() - started, self.json_lines)
        require_an_outcome_each(self.jobs, self._outcomes)
        return exit_code_of_run(self._outcomes)

    def _restore(self, restorer: Restorer, ledger: Ledger | None) -> None:
        left = self._settle(ledger)
        to_do = sum(job.skip is None for job in left)
        if not to_do:
            self._take_all([skipped(job) for job in left])
            return
        report_beginning(restorer, left)
        stages = Stages.around(restorer)
        started = time.perf_counter()
        with contextlib.ExitStack() as stack:
            stopping = stack.enter_context(finishing_first()) if to_do > 1 else None
            progress = stack.enter_context(progress_bar(to_do))
            flow: PhotoFlow[Job] = PhotoFlow(
                restorer,
                stages,
                self.writing,
                PhotoMemory(restorer, self.memory),
                outscale=self.outscale,
                aligned=self.aligned,
                limits=self.limits,
                begin=None if ledger is None else ledger.begin,
                progress=progress.update,
            )
            for outcome in run_jobs(
                left,
                flow,
                stop_at_error=self.stop_at_error,
                progress=progress,
                ledger=ledger,
                stopping=stopping,
            ):
                self._take(outcome)
        if not self.json_lines:
            report_speed(restorer, stages, time.perf_counter() - started)
        if stopping is not None:
            stopping.end()

    def _settle(self, ledger: Ledger | None) -> list[Job]:
        """What is left to do or to skip; what earlier runs say has failed is told."""
        if ledger is None:
            return self.jobs
        settled = list(
            ledger.settle(self.jobs, overwrite=self.overwrite, retry_failed=self.retry_failed)
        )
        self._take_all([found for found in settled if isinstance(found, Outcome)])
        return in_order([found for found in settled if isinstance(found, Job)])

    def _open_ledger(self, restorer: Restorer, stack: contextlib.ExitStack) -> Ledger | None:
        if self.manifest is None:
            return None
        writing = {"outscale": self.outscale, "ext": self.ext, "quality": self.writing.quality}
        writing |= {"aligned": self.aligned, "strip_metadata": self.writing.strip_metadata}
        manifest = stack.enter_context(contextlib.closing(Manifest(self.manifest)))
        return Ledger(manifest, recipe_hash(restorer, writing), self.root)

    def _take(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        report_outcome(outcome, self.json_lines, single=len(self.jobs) == 1)

    def _take_all(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self._take(outcome)
