"""A stage of the flow: how much of it may go on at once, and how busy it was."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from restora.jobs.budget import Budget


@dataclass(frozen=True, slots=True)
class StageStats:
    """What a stage has done.

    items: that went through it
    busy_s: time in which it was at work on at least one
    work_s: time spent on all of them, one after another
    """

    items: int = 0
    busy_s: float = 0.0
    work_s: float = 0.0


class Stage:
    """places  how much may be at work at once"""

    def __init__(self, name: str, places: int) -> None:
        self.name = name
        self.places = Budget(places)
        self._lock = threading.Lock()
        self._inside = 0
        self._since = 0.0
        self._use = StageStats()

    @property
    def use(self) -> StageStats:
        with self._lock:
            return self._use

    @contextmanager
    def running(self, places: int = 1) -> Iterator[None]:
        """Wait for `places`, and hold them while the body runs."""
        with self.places.holding(places):
            begun = time.perf_counter()
            with self._lock:
                if not self._inside:
                    self._since = begun
                self._inside += 1
            try:
                yield
            finally:
                ended = time.perf_counter()
                with self._lock:
                    self._inside -= 1
                    busy_s = 0.0 if self._inside else ended - self._since
                    use = self._use
                    self._use = StageStats(
                        use.items + 1, use.busy_s + busy_s, use.work_s + ended - begun
                    )
