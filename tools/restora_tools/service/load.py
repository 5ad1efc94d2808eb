"""Clients that send photos as fast as they are answered."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

C = TypeVar("C")
_TIMEOUT_S = 600.0


@dataclass(slots=True)
class Tally:
    """What clients saw. seconds: of each photo that was restored; refused: answers 503"""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0
    failed: int = 0
    elapsed_s: float = 0.0

    def as_row(self) -> dict[str, Any]:
        p50, p95, p99 = (
            (round(float(value), 3) for value in np.percentile(self.seconds, (50, 95, 99)))
            if self.seconds
            else (None, None, None)
        )
        return {
            "photos": len(self.seconds),
            "photos_per_s": round(len(self.seconds) / max(1e-9, self.elapsed_s), 3),
            "p50_s": p50,
            "p95_s": p95,
            "p99_s": p99,
            "refused": self.refused,
            "failed": self.failed,
        }


def send_all(address: str, photos: Sequence[Path], *, clients: int) -> Tally:
    """Send each photo once, by so many clients at a time. One that is refused is sent again after
    the time that the answer names."""
    return share_out(photos, lambda: contextlib.closing(_connect(address)), _send, clients=clients)


def share_out(
    photos: Sequence[Path],
    connect: Callable[[], AbstractContextManager[C]],
    send: Callable[[C, bytes, Tally, threading.Lock], None],
    *,
    clients: int,
) -> Tally:
    """Let each client, in a thread of its own, take the next photo until none is left.

    send: sends the bytes of a photo, and counts its answer in the tally while it holds the lock
    """
    tally, lock = Tally(), threading.Lock()
    left: Iterator[Path] = iter(photos)

    def work() -> None:
        with connect() as client:
            while True:
                with lock:
                    path = next(left, None)
                if path is None:
                    return
                send(client, path.read_bytes(), tally, lock)

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        for task in [threads.submit(work) for _ in range(clients)]:
            task.result()
    tally.elapsed_s = time.perf_counter() - started
    return tally


def send_for(address: str, photo: Path, *, clients: int, seconds: float) -> Tally:
    """Send the same photo again and again for so long."""
    tally, lock = Tally(), threading.Lock()
    data = photo.read_bytes()
    started = time.perf_counter()

    def work() -> None:
        with contextlib.closing(_connect(address)) as client:
            while time.perf_counter() - started < seconds:
                _send(client, data, tally, lock)

    with ThreadPoolExecutor(clients) as threads:
        for task in [threads.submit(work) for _ in range(clients)]:
            task.result()
    tally.elapsed_s = time.perf_counter() - started
    return tally


def _connect(address: str) -> http.client.HTTPConnection:
    # not httpx, whose clients take more of the two cores than the service itself
    return http.client.HTTPConnection(urlsplit(address).netloc, timeout=_TIMEOUT_S)


def _send(
    client: http.client.HTTPConnection, data: bytes, tally: Tally, lock: threading.Lock
) -> None:
    while True:
        begun = time.perf_counter()
        client.request("POST", "/v1/restore", body=data)
        answer = client.getresponse()
        answer.read()
        if answer.status != 503:
            break
        with lock:
            tally.refused += 1
        time.sleep(float(answer.headers.get("retry-after", "1")))
    with lock:
        if answer.status == 200:
            tally.seconds.append(time.perf_counter() - begun)
        else:
            tally.failed += 1
