"""A bounded queue in front of the networks: it refuses at once, and small work passes large."""

from __future__ import annotations

import asyncio
import time
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from restora.errors import (
    AbandonedError,
    ClientGoneError,
    DrainingError,
    MemoryLimitError,
    QueueFullError,
)
from restora.serve.problems import code_of
from restora.serve.tickets import Ticket
from restora.serve.tokens import Client

DRAINING = "the service is shutting down: send the request to another instance"
T = TypeVar("T")
Weight = Literal["small", "long", "large"]

# later requests may overtake one within this many times its own duration
_PATIENCE = 10.0
_FIRST_PX_PER_S = 1e6  # until requests have been measured
_LEARNED = 0.1  # share of the last request in the estimate of the speed
_HELD_BACK_S = 20.0  # a request that has waited this long for memory is not overtaken
_MOST_LARGE = 2  # one is computed while the next one is decoded
_LONGEST_RETRY_S = 60.0


class QueueMeter(Protocol):
    """What a queue counts. refused: code of the error; dropped: the same."""

    def refused(self, code: str) -> None: ...

    def dropped(self, code: str) -> None: ...

    def waited(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """waiting: requests that may wait; workers: that may be worked on at once; memory: bytes that
    those may take together. Requests of more than small_px pixels leave `for_small` workers to
    others; of those of more than large_px only two are worked on at once"""

    waiting: int
    workers: int
    memory: int
    small_px: int
    large_px: int
    for_small: int = 0

    def weigh(self, pixels: int) -> Weight:
        if pixels > self.large_px:
            return "large"
        return "long" if pixels > self.small_px else "small"


@dataclass(slots=True, eq=False)
class _Entry:
    ticket: Ticket
    work: Callable[[], Any]
    pixels: int
    memory: int
    order: float
    answer: asyncio.Future[Any]
    discard: Callable[[Any], None] | None
    since: float = field(default_factory=time.monotonic)
    started: float | None = None


class RequestQueue:
    """Requests that wait for a worker thread. Used in the thread of one event loop.

    A request counts as waiting from its admission until a worker begins. The order is that of
    arrival, but for requests that are much shorter: each has a time at which it should begin, its
    arrival and ten times its own duration. Memory and the number of large requests are bounded, and
    a request that fits passes one that does not; not for long.
    """

    def __init__(self, limits: QueueLimits, meter: QueueMeter) -> None:
        self.limits = limits
        self._meter = meter
        self._admitted: set[Ticket] = set()
        self._worked_on: set[Ticket] = set()  # whose answer is on its way
        self._waiting: list[_Entry] = []  # in the order in which they should begin
        self._running: set[_Entry] = set()
        self._px_per_s = _FIRST_PX_PER_S
        self._pool = ThreadPoolExecutor(limits.workers, thread_name_prefix="restora-serve")
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        # what runs although nobody waits for it any more is not admitted
        running = (entry.ticket for entry in self._running)
        return len(self._admitted.difference(self._worked_on, running))

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def held_bytes(self) -> int:
        return sum(entry.memory for entry in self._running)

    def position(self, ticket: Ticket) -> int:
        """How many requests begin before this one."""
        tickets = [entry.ticket for entry in self._waiting]
        return tickets.index(ticket) if ticket in tickets else 0

    @contextmanager
    def admit(
        self, client: Client, *, request_id: str, deadline_s: float | None = None
    ) -> Iterator[Ticket]:
        """A ticket for one request, which counts until the block ends.

        Raises QueueFullError if as many requests wait as may wait, DrainingError after drain().
        """
        if self._draining:
            self._meter.refused("draining")
            raise DrainingError(DRAINING)
        if self.waiting >= self.limits.waiting:
            self._meter.refused("queue-full")
            raise QueueFullError(
                f"{self.waiting} requests wait, the limit: try again later",
                retry_after_s=self._estimate_wait(),
            )
        ticket = Ticket(request_id, client, deadline_s)
        self._admitted.add(ticket)
        self._idle.clear()
        try:
            yield ticket
        except AbandonedError as error:
            self._meter.dropped(code_of(type(error)))
            raise
        except asyncio.CancelledError:
            ticket.cancel(ClientGoneError("the request was canceled"))
            raise
        finally:
            self._admitted.discard(ticket)
            self._worked_on.discard(ticket)
            self._settle()

    async def run(
        self,
        ticket: Ticket,
        work: Callable[[], T],
        *,
        pixels: int,
        memory_bytes: int = 0,
        discard: Callable[[T], None] | None = None,
    ) -> T:
        """Call `work` in a worker thread when its turn comes. `work` calls ticket.check() between
        its steps.

        pixels: of the input, for the order and the share of large requests
        memory_bytes: that it takes
        discard: frees a result that comes when nobody waits for it any more

        Raises what `work` raises; DeadlineExceededError or ClientGoneError as soon as nobody waits
        any more, while `work` may still end its step; MemoryLimitError for more memory than all of
        the limit.
        """
        ticket.check()
        if memory_bytes > self.limits.memory:
            raise MemoryLimitError(
                f"the photo needs {memory_bytes >> 20} MB, the service has "
                f"{self.limits.memory >> 20} MB for photos"
            )
        self._worked_on.discard(ticket)
        loop = asyncio.get_running_loop()
        order = ticket.arrived + _PATIENCE * pixels / self._px_per_s
        answer: asyncio.Future[T] = loop.create_future()
        entry = _Entry(ticket, work, pixels, memory_bytes, order, answer, discard)
        ticket.state = "queued"
        ticket.on_cancel(lambda error: self._drop(entry, error))
        timer = None
        if ticket.deadline is not None:
            left = max(0.0, ticket.deadline - time.monotonic())
            timer = loop.call_later(left, lambda: ticket.cancel(ticket.deadline_error()))
        insort(self._waiting, entry, key=lambda waiting: waiting.order)
        self._dispatch()
        try:
            return await answer
        finally:
            ticket.on_cancel(None)
            if timer is not None:
                timer.cancel()
            if entry in self._waiting:  # the caller itself was canceled
                self._waiting.remove(entry)

    async def drain(self, timeout_s: float) -> bool:
        """Admit nothing more, and wait for what was admitted. Returns whether all of it ended."""
        self._draining = True
        if self._idle.is_set():
            return True
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except asyncio.TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Let work that runs end at its next step, and wait for that."""
        self._draining = True
        for entry in (*self._waiting, *self._running):
            entry.ticket.cancel(AbandonedError("the service ended before the photo was restored"))
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    def _dispatch(self) -> None:
        """Begin what may begin, in order."""
        for entry in list(self._waiting):
            if len(self._running) >= self.limits.workers:
                return
            if not self._has_share(entry):
                continue
            if not self._running or self.held_bytes + entry.memory <= self.limits.memory:
                self._begin(entry)
            elif time.monotonic() - entry.since > _HELD_BACK_S:
                return

    def _has_share(self, entry: _Entry) -> bool:
        """Whether a worker may be given to an entry of this size."""
        limits = self.limits
        weights = Counter(limits.weigh(one.pixels) for one in self._running)
        weight, most = limits.weigh(entry.pixels), max(1, limits.workers - limits.for_small)
        if weight != "small" and weights["long"] + weights["large"] >= most:
            return False
        return weight != "large" or weights["large"] < min(_MOST_LARGE, most)

    def _begin(self, entry: _Entry) -> None:
        self._waiting.remove(entry)
        self._running.add(entry)
        entry.started = time.monotonic()
        self._meter.waited(entry.started - entry.since)
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, entry.work)
        future.add_done_callback(lambda done: self._end(entry, done))

    def _end(self, entry: _Entry, done: asyncio.Future[Any]) -> None:
        self._running.discard(entry)
        if entry.ticket in self._admitted:
            self._worked_on.add(entry.ticket)
        assert entry.started is not None
        error = None if done.cancelled() else done.exception()
        if entry.answer.done():
            if error is None and not done.cancelled() and entry.discard is not None:
                entry.discard(done.result())
        elif done.cancelled():
            entry.answer.cancel()
        elif error is not None:
            entry.answer.set_exception(error)
        else:
            entry.answer.set_result(done.result())
        if error is None and entry.pixels:
            speed = entry.pixels / max(1e-3, time.monotonic() - entry.started)
            self._px_per_s += _LEARNED * (speed - self._px_per_s)
        self._dispatch()
        self._settle()

    def _drop(self, entry: _Entry, error: AbandonedError) -> None:
        if not entry.answer.done():
            entry.answer.set_exception(error)
        if entry in self._waiting:
            self._waiting.remove(entry)

    def _settle(self) -> None:
        if not self._admitted and not self._running:
            self._idle.set()

    def _estimate_wait(self) -> float:
        """Seconds until about half of what waits is done."""
        pixels = sum(entry.pixels for entry in (*self._waiting, *self._running))
        return min(_LONGEST_RETRY_S, max(1.0, pixels / self._px_per_s / 2))
