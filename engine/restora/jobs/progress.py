"""What a run reports while it works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from restora.jobs.outcome import Outcome
from restora.jobs.plan import Job
from restora.networks import OpenNetwork


class RunProgress(Protocol):
    """Callbacks of a run. `update` is called from worker threads, the others from the thread that
    called the run. An exception in `begin` or `end` ends the run."""

    def begin(self, networks: Sequence[OpenNetwork], jobs: Sequence[Job]) -> None:
        """Called once the networks are open; not at all if nothing is left to do.

        jobs: all inputs; those with `is_left` are restored next
        """

    def update(self, job: Job, done: int, total: int) -> None:
        """Called while a photo is restored. done, total: output pixels."""

    def end(self, job: Job, outcome: Outcome) -> None:
        """Called when a file is restored, skipped or failed."""


class NoProgress:
    """Progress that reports nothing. Base class for progress that needs only some callbacks."""

    def begin(self, networks: Sequence[OpenNetwork], jobs: Sequence[Job]) -> None:
        pass

    def update(self, job: Job, done: int, total: int) -> None:
        pass

    def end(self, job: Job, outcome: Outcome) -> None:
        pass
