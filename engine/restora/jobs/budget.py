"""A first-in, first-out weighted semaphore: for bytes, slots of a stage, items in flight."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """Grants requests in the order in which they come. A request larger than the capacity is
    granted when nothing else is held.

    capacity: in any unit; requests use the same one
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.peak_held = 0
        self._held = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    def acquire(self, amount: int) -> None:
        """Wait until `amount` is free and all earlier requests are granted."""
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
