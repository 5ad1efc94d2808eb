"""Limits of requests per second: a token bucket for each client."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from restora.errors import RateLimitError

_BURST_S = 10.0  # what a client has not used of its rate it may catch up with at once
_MAX_BUCKETS = 10_000


@dataclass(slots=True)
class _Bucket:
    left: float
    filled: float


class Rates:
    """Counts the requests of each client; used by one thread.

    rate: requests per second of clients without a rate of their own; None: no limit
    clock: seconds
    """

    def __init__(self, rate: float | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def check(self, key: str, rate: float | None = None) -> None:
        """Count one request. Raises RateLimitError if the client must wait."""
        rate = self._rate if rate is None else rate
        if rate is None:
            return
        now, burst = self._clock(), max(1.0, rate * _BURST_S)
        # the client that came last is last
        bucket = self._buckets.pop(key, None) or _Bucket(burst, now)
        bucket.left = min(burst, bucket.left + (now - bucket.filled) * rate)
        bucket.filled = now
        self._buckets[key] = bucket
        if len(self._buckets) > _MAX_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        if bucket.left < 1:
            raise RateLimitError(
                f"more than {rate:.3g} requests per second", retry_after_s=(1 - bucket.left) / rate
            )
        bucket.left -= 1
