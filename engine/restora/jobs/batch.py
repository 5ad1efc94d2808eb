"""One run over many photos: what ends it, and what is written down and told about it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

from restora.errors import DecoderProcessError, DeviceLostError, DiskFullError, OutputError
from restora.exit_codes import ExitCode, code_of_type
from restora.jobs.lock import OutputLocks
from restora.jobs.outcome import Outcome
from restora.jobs.photo_flow import PhotoFlow
from restora.jobs.plan import Job
from restora.jobs.run_journal import RunJournal

# errors after which nothing else can be done, and the reason that files left over get
_ENDING = {
    DiskFullError.__name__: "the disk is full",
    DeviceLostError.__name__: "the GPU is lost",
    DecoderProcessError.__name__: "no process that decodes can be started",
}


class RunProgress(Protocol):
    """Told of every photo that is worked on."""

    def update(self, job: Job, done: int, total: int) -> None: ...

    def end(self, job: Job) -> None: ...


def run_jobs(
    jobs: list[Job],
    flow: PhotoFlow[Job],
    *,
    stop_at_error: bool,
    progress: RunProgress,
    ledger: RunJournal | None = None,
    locks: OutputLocks | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Yield one outcome per job, in the order in which they finish.

    ledger    where every end is written down
    locks     of results; each is released when its photo is done
    stopping  looked at before each file; what is begun is finished, the rest is not yielded

    A full disk or a lost GPU ends the run: what is not done yet is yielded as failed. If the
    manifest cannot be written, the run ends in the same way, and then the error is raised.
    """
    left = {job.source: job for job in jobs if job.is_left}
    yield from (untried(job) for job in jobs if not job.is_left)
    reason: str | None = None
    cause: str | None = None
    broken: OutputError | None = None
    outcomes = flow.iter_outcomes(
        list(left.values()), stop=lambda: reason is not None or stopping()
    )
    with contextlib.closing(outcomes):
        for job, outcome in outcomes:
            del left[job.source]
            try:
                if ledger is not None:
                    ledger.end(job, outcome)
            except OutputError as error:
                broken = broken or error
                cause = type(error).__name__
                reason = f"not tried: {error}"
            if locks is not None:
                locks.release(job.target)
            progress.end(job)
            yield outcome
            if outcome.error_type in _ENDING:
                cause = outcome.error_type
                reason = f"not tried: {_ENDING[cause]}"
            elif outcome.status == "failed" and stop_at_error and reason is None:
                reason = "not tried: stopped at the first error"
    if reason is not None:
        for job in left.values():
            yield Outcome(str(job.source), str(job.target), "failed", reason, cause)
    if broken is not None:
        raise broken


def untried(job: Job) -> Outcome:
    """Of a job that is skipped, or fails without being tried."""
    if job.failure is not None:
        failure = job.failure
        return Outcome(
            str(job.source), str(job.target), "failed", failure.reason, failure.error_type
        )
    return Outcome(str(job.source), str(job.target), "skipped", job.skip)


def exit_code_of_run(outcomes: list[Outcome]) -> ExitCode:
    """0 if nothing failed; 3 if some photos or faces did; if all photos did, the code of what went
    wrong, else 4."""
    failures = [outcome for outcome in outcomes if outcome.status == "failed"]
    if not failures:
        done = all(outcome.complete for outcome in outcomes)
        return ExitCode.OK if done else ExitCode.SOME_FAILED
    if len(failures) < len(outcomes):
        return ExitCode.SOME_FAILED
    codes = {code_of_type(outcome.error_type) for outcome in failures}
    if len(codes) == 1 and codes <= {ExitCode.MODEL, ExitCode.ENVIRONMENT, ExitCode.USAGE}:
        return codes.pop()
    return ExitCode.ALL_FAILED
