"""What a run reports while it works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from restora.jobs.outcome import Outcome
from restora.jobs.plan import Job
from restora.networks import OpenNetwork


class RunProgress(Protocol):
    """Callbacks of a run. `update` is called from worker threads, the others from the thread that
    called the run. What they raise ends the run."""

    def begin(self, networks: Sequence[OpenNetwork], jobs: Sequence[Job]) -> None:
        """The networks are open. jobs: all inputs; those with `is_left` are restored next. Not
        called if nothing is left to do."""

    def update(self, job: Job, done: int, total: int) -> None:
        """Part of a photo is restored: so many of its output pixels."""

    def end(self, job: Job, outcome: Outcome) -> None:
        """A file is restored, skipped or failed."""


class NoProgress:
    """Reports nothing. Base class for those that report only a part."""

    def begin(self, networks: Sequence[OpenNetwork], jobs: Sequence[Job]) -> None:
        pass

    def update(self, job: Job, done: int, total: int) -> None:
        pass

    def end(self, job: Job, outcome: Outcome) -> None:
        pass
