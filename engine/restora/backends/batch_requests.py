"""What waits for a session, and what was done for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from restora.backends.base import Batch


@dataclass(frozen=True, slots=True)
class SessionStats:
    """Usage of a session.

    busy_s: seconds in which at least one call was running
    calls: finished calls
    pictures: images in all of these calls
    """

    busy_s: float = 0.0
    calls: int = 0
    pictures: int = 0


@dataclass(slots=True, eq=False)
class Caller:
    """A photo, or a batch on its own.

    age: lower for callers that came earlier
    granted: where the last request of the caller stands in the order of fair shares, in pixels
    """

    age: int
    granted: int = 0


@dataclass(slots=True, eq=False)
class Request:
    """The batch of one caller.

    turn: requests with a lower one run first
    taken: how many images are running or done
    left: how many images are not done
    """

    batch: Batch
    turn: int
    taken: int = 0
    left: int = field(init=False)
    result: Batch | None = None
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.left = len(self.batch)


@dataclass(frozen=True, slots=True)
class Part:
    """The images start..stop of a request."""

    request: Request
    start: int
    stop: int

    @property
    def batch(self) -> Batch:
        return self.request.batch[self.start : self.stop]
