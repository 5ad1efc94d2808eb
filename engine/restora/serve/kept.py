"""Results that are kept for a while, so that a link to them works."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from restora.errors import NotFoundError
from restora.serve.tokens import Client
from restora.serve.uploads import Blob

_ID_BYTES = 24
MOST_RESULTS = 10_000  # each is a file


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """One result. until: as of time.monotonic(); expires: the same time in UTC"""

    id: str
    blob: Blob
    media_type: str
    client: Client
    until: float
    expires: datetime


class KeptResults:
    """Results by random names. Used in the thread of one event loop.

    keep_s: how long each is kept; most_bytes: of all, which are MOST_RESULTS at most; the oldest go
        first
    """

    def __init__(self, *, keep_s: float, most_bytes: int) -> None:
        self._keep_s = keep_s
        self._most_bytes = most_bytes
        self._kept: dict[str, Kept] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        return sum(kept.blob.size for kept in self._kept.values())

    def add(self, blob: Blob, media_type: str, client: Client) -> Kept:
        """Keep a result; the newest is kept even if it alone passes the limit of bytes."""
        kept = Kept(
            secrets.token_urlsafe(_ID_BYTES),
            blob,
            media_type,
            client,
            time.monotonic() + self._keep_s,
            datetime.now(timezone.utc) + timedelta(seconds=self._keep_s),
        )
        while self._kept and not self._has_room(blob.size):
            self._drop(next(iter(self._kept)))
        self._kept[kept.id] = kept
        loop = asyncio.get_running_loop()
        self._timers[kept.id] = loop.call_later(self._keep_s, self._drop, kept.id)
        return kept

    def get(self, id_: str, client: Client) -> Kept:
        """Raises NotFoundError for a result that is gone, was never there, or is another's."""
        kept = self._kept.get(id_)
        if kept is None or kept.client.name != client.name or kept.until < time.monotonic():
            raise NotFoundError("there is no such result, or it has expired")
        return kept

    def remove(self, id_: str, client: Client) -> None:
        """Raises NotFoundError, see get."""
        self._drop(self.get(id_, client).id)

    def close(self) -> None:
        for id_ in list(self._kept):
            self._drop(id_)

    def _has_room(self, size: int) -> bool:
        return self.bytes + size <= self._most_bytes and len(self._kept) < MOST_RESULTS

    def _drop(self, id_: str) -> None:
        kept = self._kept.pop(id_, None)
        if kept is not None:
            self._timers.pop(id_).cancel()
            kept.blob.close()
