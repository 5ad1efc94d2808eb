"""A thousand uploads at once, of which some are broken, slow or given up: each is answered."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["good", "broken", "slow", "aborted"]

_TIMEOUT_S = 600.0
_SLOW_PARTS = 5
_HEAD = (
    "POST /v1/restore HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n"
    "Connection: close\r\n\r\n"
)


def send_crowd(
    address: str, photo: Path, *, count: int, odd_share: float, seed: int = 1
) -> dict[str, dict[str, int]]:
    """Send all at once. Returns how often each kind of upload got which answer: the status, and
    the code of a problem.

    odd_share: of uploads that are broken, slow or aborted, a third each
    """
    rng = Random(seed)  # noqa: S311
    kinds: list[Kind] = [
        rng.choice(("broken", "slow", "aborted")) if rng.random() < odd_share else "good"
        for _ in range(count)
    ]
    return asyncio.run(_send_crowd(address, photo.read_bytes(), kinds))


async def _send_crowd(address: str, data: bytes, kinds: list[Kind]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    host = urlsplit(address)
    assert host.hostname is not None
    assert host.port is not None
    sending = [_send(host.hostname, host.port, data, kind) for kind in kinds]
    answers = await asyncio.gather(*(asyncio.wait_for(one, _TIMEOUT_S) for one in sending))
    for kind, answer in zip(kinds, answers, strict=True):
        found.setdefault(kind, Counter())[answer] += 1
    return {kind: dict(sorted(counts.items())) for kind, counts in sorted(found.items())}


async def _send(host: str, port: int, data: bytes, kind: Kind) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        body = data[: len(data) // 2] if kind == "broken" else data
        writer.write(_HEAD.format(size=len(body)).encode())
        if kind == "aborted":
            writer.write(body[: len(body) // 2])
            await writer.drain()
            return "aborted"
        parts = _SLOW_PARTS if kind == "slow" else 1
        step = -(-len(body) // parts)
        for start in range(0, len(body), step):
            writer.write(body[start : start + step])
            await writer.drain()
            if kind == "slow":
                await asyncio.sleep(0.5)
        return _read(await reader.read())
    except ConnectionError:
        return "connection lost"
    finally:
        writer.close()


def _read(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head:
        return "no answer"
    status = head.split(b" ", 2)[1].decode()
    if b"application/problem+json" not in head:
        return status
    return f"{status} {json.loads(body)['code']}"
