"""Time several functions fairly: warm them up, run them in turns, keep every value."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

PAUSE_S = 0.25
_SEED = 0  # of the orders


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of all runs of a function. spread: slowest divided by fastest."""

    median: float
    p95: float
    p99: float
    fastest: float
    slowest: float
    count: int

    @property
    def spread(self) -> float:
        return self.slowest / self.fastest

    def as_dict(self) -> dict[str, float]:
        return {name: round(value, 6) for name, value in asdict(self).items()}


def times_from(values: list[float]) -> Times:
    return Times(
        float(np.median(values)),
        float(np.percentile(values, 95)),
        float(np.percentile(values, 99)),
        min(values),
        max(values),
        len(values),
    )


def time_in_turns(
    ways: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    warm_up: int = 1,
    pause_s: float | None = None,
) -> dict[str, Times]:
    """Time functions in turns: each turn runs every function once. The first turns are not counted.

    Each turn has another order: what ran before a function leaves caches, and the clock of the
    cores, in another state.

    pause_s: seconds between two runs, because threads of a runtime keep spinning for a while and
        would take cores from the next function; None uses PAUSE_S
    """
    pause_s = PAUSE_S if pause_s is None else pause_s
    values: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    chance = random.Random(_SEED)  # noqa: S311  not a secret
    for turn in range(repeats + warm_up):
        if turn:
            chance.shuffle(order)
        for name in order:
            time.sleep(pause_s)
            started = time.perf_counter()
            ways[name]()
            elapsed_s = time.perf_counter() - started
            if turn >= warm_up:
                values[name].append(elapsed_s)
    return {name: times_from(found) for name, found in values.items()}
