"""A first-in, first-out weighted semaphore: for bytes, places of a stage, items in flight."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """First come, first served. A request larger than the capacity is granted when nothing else is
    held.

    capacity: in whatever unit is asked for
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.peak_held = 0
        self._held = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    def acquire(self, amount: int) -> None:
        """Wait until `amount` is free and all who came before have theirs."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            while self._queue[0] is not ticket or (
                self._held and self._held + amount > self.capacity
            ):
                self._changed.wait()
            self._queue.popleft()
            self._held += amount
            self.peak_held = max(self.peak_held, self._held)
            self._changed.notify_all()

    def release(self, amount: int) -> None:
        with self._changed:
            self._held -= amount
            self._changed.notify_all()

    @contextmanager
    def holding(self, amount: int) -> Iterator[None]:
        self.acquire(amount)
        try:
            yield
        finally:
            self.release(amount)
