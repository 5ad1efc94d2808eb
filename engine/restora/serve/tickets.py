"""One request on its way through the service: how far it is, and whether anybody waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from restora.errors import AbandonedError, DeadlineExceededError, OptionError
from restora.serve.tokens import Client

State = Literal["uploading", "queued", "decoding", "restoring", "encoding", "done", "failed"]
MAX_DEADLINE_S = 86_400.0


class Ticket:
    """The right of one request to be worked on.

    request_id: as in the answer
    deadline_s: seconds from now within which the result is wanted; None: any time

    Its state is set where the work happens and read by others; `check` may be called from any
    thread. code: of the problem, if it failed
    """

    def __init__(self, request_id: str, client: Client, deadline_s: float | None = None) -> None:
        self.request_id = request_id
        self.client = client
        self.arrived = time.monotonic()
        self.deadline = None if deadline_s is None else self.arrived + deadline_s
        self.state: State = "uploading"
        self.done = self.total = 0
        self.code: str | None = None
        self._has_ended = False
        self._abandoned: AbandonedError | None = None
        self._wake: Callable[[AbandonedError], None] | None = None

    @property
    def shown_state(self) -> State:
        """How far the request is. Once it has ended, a worker's last step changes nothing."""
        if self._has_ended:
            return "done" if self.code is None else "failed"
        return self.state

    def end(self, code: str | None = None) -> None:
        """The request has been answered. code: of its problem"""
        self.code, self._has_ended = code, True

    def check(self) -> None:
        """Raise DeadlineExceededError or ClientGoneError if nobody waits for the result."""
        late = self.deadline is not None and time.monotonic() >= self.deadline
        if late and self._abandoned is None:
            self._abandoned = self.deadline_error()
        if self._abandoned is not None:
            raise self._abandoned

    def cancel(self, error: AbandonedError) -> None:
        """Let check raise `error` from now on, and end the waiting at once. Called in the thread of
        the event loop."""
        self._abandoned = self._abandoned or error
        if self._wake is not None:
            self._wake(self._abandoned)

    def on_cancel(self, wake: Callable[[AbandonedError], None] | None) -> None:
        """Call `wake` when the request is canceled; None: nobody waits."""
        self._wake = wake

    def report(self, done: int, total: int) -> None:
        """Output pixels that are done, and all of them."""
        self.done, self.total = done, total

    def deadline_error(self) -> DeadlineExceededError:
        assert self.deadline is not None
        return DeadlineExceededError(
            f"the result was wanted within {self.deadline - self.arrived:g} s: the work on it ended"
        )


def parse_deadline(text: str | None, default_s: float | None) -> float | None:
    """Seconds of an X-Restora-Deadline header, no more than the service's own limit.

    Raises OptionError for anything but a number above 0.
    """
    if text is None:
        return default_s
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MAX_DEADLINE_S:
        raise OptionError(
            f"X-Restora-Deadline must be seconds, above 0 and up to {MAX_DEADLINE_S:g}, "
            f"got {text[:40]!r}"
        )
    return seconds if default_s is None else min(seconds, default_s)
