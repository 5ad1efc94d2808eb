"""How a whole run ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from restora.errors import SessionError
from restora.exit_codes import ExitCode, code_of_type
from restora.jobs.outcome import Outcome, Status
from restora.jobs.plan import Job
from restora.jobs.stage import StageStats
from restora.networks import OpenNetwork


@dataclass(frozen=True, slots=True)
class RunResult:
    """How every input of a run ended.

    outcomes: one for each input, in the order in which they finished; fewer if the run was stopped
    elapsed_s: seconds of the whole run; restoring_s: seconds of it that photos were restored
    stages: statistics of "decode", "restore" and "encode"; empty if nothing was restored
    networks: the open networks; empty if nothing was restored
    stopped: whether `stop` ended the run; the rest is left for the next run
    """

    outcomes: tuple[Outcome, ...]
    elapsed_s: float
    restoring_s: float = 0.0
    stages: Mapping[str, StageStats] = field(default_factory=dict)
    networks: tuple[OpenNetwork, ...] = ()
    stopped: bool = False

    @property
    def counts(self) -> Counter[Status]:
        """The number of inputs by status: "restored", "skipped" and "failed"."""
        return Counter(outcome.status for outcome in self.outcomes)

    @property
    def failures(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]

    @property
    def complete(self) -> bool:
        """Whether every photo is done, and none of its faces failed."""
        return not self.stopped and all(outcome.complete for outcome in self.outcomes)

    @property
    def exit_code(self) -> ExitCode:
        return exit_code_of_run(self.outcomes)


def exit_code_of_run(outcomes: Sequence[Outcome]) -> ExitCode:
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


def untried(job: Job) -> Outcome:
    """The outcome of a job that is skipped, or fails without being tried."""
    if job.failure is None:
        return Outcome(str(job.source), str(job.target), "skipped", job.skip)
    failure = job.failure
    return Outcome(str(job.source), str(job.target), "failed", failure.reason, failure.error_type)


def require_an_outcome_each(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
    """Raise SessionError if an input has no outcome, or two."""
    counts = Counter(outcome.input for outcome in outcomes)
    lost = [str(job.source) for job in jobs if counts[str(job.source)] != 1]
    if lost:
        raise SessionError(f"{len(lost)} inputs have no outcome, or two, such as {lost[0]}")
