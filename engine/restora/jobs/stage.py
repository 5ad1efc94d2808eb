"""A stage with a bounded number of concurrent workers, and its statistics."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from restora.jobs.budget import Budget


@dataclass(frozen=True, slots=True)
class StageStats:
    """Statistics of a stage.

    items: the number of items that it finished
    busy_s: seconds in which at least one item was in it
    work_s: the sum of the seconds of all items
    """

    items: int = 0
    busy_s: float = 0.0
    work_s: float = 0.0


def merge_stats(every: Sequence[Mapping[str, StageStats]]) -> dict[str, StageStats]:
    """Statistics of each stage over several processes: sums, and the mean of busy_s."""
    names = dict.fromkeys(name for found in every for name in found)
    merged = {}
    for name in names:
        stats = [found[name] for found in every if name in found]
        merged[name] = StageStats(
            sum(one.items for one in stats),
            sum(one.busy_s for one in stats) / len(stats),
            sum(one.work_s for one in stats),
        )
    return merged


class Stage:
    """A stage with `slots` concurrent workers; an item may take several slots."""

    def __init__(self, name: str, slots: int) -> None:
        self.name = name
        self.slots = Budget(slots)
        self._lock = threading.Lock()
        self._inside = 0
        self._since = 0.0
        self._use = StageStats()

    @property
    def use(self) -> StageStats:
        with self._lock:
            return self._use

    @contextmanager
    def running(self, slots: int = 1) -> Iterator[None]:
        """Wait for `slots`, and hold them while the body runs."""
        with self.slots.holding(slots):
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
