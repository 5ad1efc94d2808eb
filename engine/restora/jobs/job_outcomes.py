"""The outcomes of many jobs: what ends a run early, and what its journal records."""

import contextlib
from collections.abc import Callable, Generator

from restora.errors import DecoderProcessError, DeviceLostError, DiskFullError, OutputError
from restora.jobs.engine import Flow
from restora.jobs.lock import OutputLocks
from restora.jobs.outcome import Outcome
from restora.jobs.plan import Job
from restora.jobs.result import untried
from restora.jobs.run_journal import RunJournal

# errors that end the run, and the reason for the files that are left
_ENDING = {
    DiskFullError.__name__: "the disk is full",
    DeviceLostError.__name__: "the GPU is lost",
    DecoderProcessError.__name__: "no process that decodes can be started",
}


def iter_job_outcomes(
    jobs: list[Job],
    flow: Flow,
    *,
    stop_at_error: bool,
    journal: RunJournal | None = None,
    locks: OutputLocks | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[tuple[Job, Outcome], None, None]:
    """Yield each job with its outcome, in the order in which they finish.

    journal: records how each job ends
    locks: locks of results; each is released when its photo is done
    stop: checked before each file; jobs in flight are finished, the rest is not yielded

    A full disk or a lost GPU ends the run: the jobs that are left are yielded as failed. If the
    journal cannot be written, the run ends in the same way, and then the error is raised.
    """
    left = {job.source: job for job in jobs if job.is_left}
    yield from ((job, untried(job)) for job in jobs if not job.is_left)
    reason: str | None = None
    cause: str | None = None
    broken: OutputError | None = None
    outcomes = flow.iter_outcomes(list(left.values()), stop=lambda: reason is not None or stop())
    with contextlib.closing(outcomes):
        for job, outcome in outcomes:
            del left[job.source]
            try:
                if journal is not None:
                    journal.end(job, outcome)
            except OutputError as error:
                broken = broken or error
                cause = type(error).__name__
                reason = f"not tried: {error}"
            if locks is not None:
                locks.release(job.target)
            yield job, outcome
            if outcome.error_type in _ENDING:
                cause = outcome.error_type
                reason = f"not tried: {_ENDING[cause]}"
            elif outcome.status == "failed" and stop_at_error and reason is None:
                reason = "not tried: stopped at the first error"
    if reason is not None:
        for job in left.values():
            yield job, Outcome(str(job.source), str(job.target), "failed", reason, cause)
    if broken is not None:
        raise broken
