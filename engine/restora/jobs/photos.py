"""Restore photos, from the plan to the last row of the journal."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from restora.atomic import remove_partial
from restora.errors import OptionError
from restora.image.isolated import start_decoder
from restora.jobs.devices import choose_devices, require_opener
from restora.jobs.disk import found_at, prepare_folder
from restora.jobs.engine import Engine, FlowCalls, FlowOptions, LocalEngine
from restora.jobs.inputs import RESULT_FORMATS
from restora.jobs.job_outcomes import iter_job_outcomes
from restora.jobs.journal import Journal
from restora.jobs.lock import OutputLocks
from restora.jobs.options import RunOptions
from restora.jobs.outcome import Outcome
from restora.jobs.output import WriteOptions
from restora.jobs.photo_plan import PhotoPlan, plan_photos
from restora.jobs.plan import Job, measure, require_free
from restora.jobs.progress import NoProgress, RunProgress
from restora.jobs.recipe import recipe_hash, writing_settings
from restora.jobs.result import RunResult, require_an_outcome_each, untried
from restora.jobs.run_journal import RunJournal, suspects_last
from restora.pipeline import Restorer


def never() -> bool:
    return False


def restore_photos(
    source: Path | str,
    output: Path | str,
    restorer: Restorer | Callable[..., Restorer],
    *,
    options: RunOptions | None = None,
    progress: RunProgress | None = None,
    stop: Callable[[], bool] = never,
) -> RunResult:
    """Restore a photo or a folder of photos; see restore_folder and restore_file.

    source: a photo, or a folder of photos
    output: a folder; or a file, if the source is one

    A photo that fails becomes a failed outcome, even if it is the only one.
    """
    options = options or RunOptions()
    started = time.perf_counter()
    plan = plan_photos(source, output, options)
    if plan.journal is None and not options.overwrite:
        require_free(plan.jobs)
    prepare_folder(plan.folder / "any", None)
    run = _PhotoRun(plan, options, progress or NoProgress(), stop)
    run.restore(restorer)
    return run.result(time.perf_counter() - started)


class _PhotoRun:
    """One run. Used once."""

    def __init__(
        self, plan: PhotoPlan, options: RunOptions, progress: RunProgress, stop: Callable[[], bool]
    ) -> None:
        self._plan = plan
        self._options = options
        self._progress = progress
        self._stop = stop
        self._outcomes: list[Outcome] = []
        self._result = RunResult((), 0.0)

    def restore(self, restorer: Restorer | Callable[..., Restorer]) -> None:
        """Restore what is left. The networks are opened only if something may be left."""
        if not any(job.is_left for job in self._plan.jobs):
            self._take_untried(self._plan.jobs)
            return
        start_decoder()
        with contextlib.ExitStack() as stack:
            engine = self._open_engine(restorer, stack)
            if self._options.aligned and not engine.restores_faces:
                raise OptionError("aligned faces need a Restorer with faces: faces=FaceOptions()")
            journal = self._open_journal(engine, stack)
            jobs = self._plan.jobs if journal is None else self._resolve(journal)
            if any(job.is_left for job in jobs):
                self._restore_left(engine, jobs, journal)
            else:
                self._take_untried(jobs)

    def result(self, elapsed_s: float) -> RunResult:
        """The result of the run. Raises SessionError if an input was lost."""
        stopped = self._stop() and len(self._outcomes) < len(self._plan.jobs)
        if not stopped:
            require_an_outcome_each(self._plan.jobs, self._outcomes)
        return replace(
            self._result, outcomes=tuple(self._outcomes), elapsed_s=elapsed_s, stopped=stopped
        )

    def _resolve(self, journal: RunJournal) -> list[Job]:
        options = self._options
        resolved = journal.resolve(
            self._plan.jobs, overwrite=options.overwrite, retry_failed=options.retry_failed
        )
        return suspects_last(list(resolved))

    def _open_engine(
        self, restorer: Restorer | Callable[..., Restorer], stack: contextlib.ExitStack
    ) -> Engine:
        options, extras = self._options, {job.target: job.extras for job in self._plan.jobs}
        flow = FlowOptions(
            WriteOptions(self._plan.folder, options.quality, options.strip_metadata, extras),
            memory=options.memory,
            outscale=options.outscale,
            aligned=options.aligned,
            limits=options.limits,
            hash_sources=self._plan.journal is not None,
        )
        devices = () if options.devices is None else choose_devices(options.devices)
        if len(devices) > 1 and self._plan.from_folder:
            from restora.jobs.device_engine import DeviceEngine  # no other run needs it

            return stack.enter_context(contextlib.closing(DeviceEngine(restorer, devices, flow)))
        if devices:
            require_opener(restorer)
        if not isinstance(restorer, Restorer):
            restorer = stack.enter_context(restorer(**({"device": devices[0]} if devices else {})))
        return LocalEngine(restorer, flow)

    def _restore_left(self, engine: Engine, jobs: list[Job], journal: RunJournal | None) -> None:
        options = self._options
        jobs = measure(jobs, options.limits)
        self._progress.begin(engine.networks, jobs)
        started = time.perf_counter()
        with contextlib.closing(OutputLocks()) as locks:

            def begin(job: Job) -> None:
                locks.acquire(job.target)
                self._require_as_planned(job)
                if journal is not None:
                    journal.begin(job)
                else:  # a journal knows which of many photos a killed run was working on
                    remove_partial(job.target)
                    job.extras.remove_partial()

            def retry(tried: Sequence[Job]) -> Iterator[Job]:
                for job in tried:
                    locks.release(job.target)
                assert journal is not None, "runs over folders keep one"
                return journal.retry(tried, overwrite=options.overwrite)

            flow = engine.flow(FlowCalls(begin, retry, self._progress.update))
            outcomes = iter_job_outcomes(
                jobs,
                flow,
                stop_at_error=options.on_error == "stop",
                journal=journal,
                locks=locks,
                stop=self._stop,
            )
            with contextlib.closing(outcomes):
                for job, outcome in outcomes:
                    self._take(job, outcome)
        self._result = replace(
            self._result,
            restoring_s=time.perf_counter() - started,
            stages=flow.stats(),
            networks=flow.networks,
        )

    def _require_as_planned(self, job: Job) -> None:
        """Raise OptionError if another program wrote the result since this run was planned."""
        found = found_at(job.target)
        if not self._options.overwrite and found != job.found:
            raise OptionError(
                f"{job.target} was written by another program during this run: give --overwrite "
                "to replace it"
            )

    def _open_journal(self, engine: Engine, stack: contextlib.ExitStack) -> RunJournal | None:
        if self._plan.journal is None:
            return None
        journal = stack.enter_context(contextlib.closing(Journal(self._plan.journal)))
        options = self._options

        @functools.cache
        def recipe_of_format(format_: str) -> str:
            settings = writing_settings(
                engine,
                format_,
                outscale=options.outscale,
                quality=options.quality,
                strip_metadata=options.strip_metadata,
                aligned=options.aligned,
            )
            return recipe_hash(engine, settings)

        return RunJournal(
            journal,
            lambda target: recipe_of_format(RESULT_FORMATS[target.suffix.lower()]),
            self._plan.root,
        )

    def _take(self, job: Job, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._progress.end(job, outcome)

    def _take_untried(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._take(job, untried(job))
