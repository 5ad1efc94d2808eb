"""What a run over a folder writes down, and what it takes from earlier runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from restora.cli.exits import ExitCode, code_of_type
from restora.cli.jobs import Job
from restora.errors import SessionError
from restora.flow import Outcome
from restora.image import remove_partial
from restora.runs import Manifest, decide, stamp_of
from restora.runs.manifest import Stamp
from restora.runs.resume import digest_of_file

FILE = Path(".restora", "manifest.jsonl")


@dataclass(frozen=True, slots=True)
class Ledger:
    """The manifest of one run. root: that inputs are named from; recipe: of this run."""

    manifest: Manifest
    recipe: str
    root: Path

    def name(self, source: Path) -> str:
        return source.relative_to(self.root).as_posix()

    def settle(
        self, jobs: Iterable[Job], *, overwrite: bool, retry_failed: bool
    ) -> Iterator[Job | Outcome]:
        """Each job, with a reason to skip it where its result is there; or, for one that failed or
        killed earlier runs, what became of it."""
        for job in jobs:
            if job.skip is not None:
                yield job
                continue
            name = self.name(job.source)
            past = self.manifest.past(name)
            if past is not None and past.status is None:
                remove_partial(job.target)
            decision = decide(
                past,
                job.target,
                recipe=self.recipe,
                stamp=stamp_of(job.source),
                overwrite=overwrite,
                retry_failed=retry_failed,
            )
            if decision.action in ("failed", "quarantined"):
                yield Outcome(
                    str(job.source),
                    str(job.target),
                    "failed",
                    decision.why,
                    "Quarantined" if past is None or past.status is None else past.error_type,
                )
            elif decision.action == "leave":
                if past is not None and past.status is None:
                    # it was finished in the moment before the last run was killed
                    digest = digest_of_file(job.target)
                    self.manifest.end(name, "restored", output=str(job.target), sha256=digest)
                yield replace(job, skip=decision.why)
            else:
                kills = past.kills if past is not None and decision.alone else 0
                yield replace(job, alone=decision.alone, kills=kills, note=decision.why or None)

    def begin(self, job: Job) -> None:
        self.manifest.begin(self.name(job.source), recipe=self.recipe, stamp=stamp_of(job.source))

    def adopt(self, outcome: Outcome, *, recipe: str, stamp: Stamp) -> None:
        """Write down what was done without this manifest, unless it is known."""
        name = self.name(Path(outcome.input))
        past = self.manifest.past(name)
        if past is not None and (past.recipe, past.stamp) == (recipe, stamp) and past.status:
            return
        self.manifest.begin(name, recipe=recipe, stamp=stamp)
        self.end(outcome)

    def end(self, outcome: Outcome) -> None:
        """Write down what became of a file that was begun."""
        name = self.name(Path(outcome.input))
        if not self.manifest.is_open(name):
            return
        code = code_of_type(outcome.error_type)
        if outcome.status == "restored":
            self.manifest.end(
                name,
                "restored",
                output=outcome.output,
                sha256=outcome.sha256,
                ms=round(1000 * (outcome.seconds or 0)),
            )
        elif code == ExitCode.ENVIRONMENT:
            self.manifest.end(name, "interrupted", reason=outcome.reason)
        else:
            self.manifest.end(
                name,
                "failed",
                error_type=outcome.error_type,
                reason=outcome.reason,
                exit_code=int(code),
            )


def in_order(jobs: list[Job]) -> list[Job]:
    """What may kill the process comes last, so that everything else is done by then; what was there
    at most deaths last of all."""
    return sorted(jobs, key=lambda job: (job.alone, job.kills))


def require_an_outcome_each(jobs: list[Job], outcomes: list[Outcome]) -> None:
    """Raise SessionError if an input was lost or came out twice."""
    counts = Counter(outcome.input for outcome in outcomes)
    lost = [str(job.source) for job in jobs if counts[str(job.source)] != 1]
    if lost:
        raise SessionError(f"{len(lost)} inputs have no outcome, or two, such as {lost[0]}")
