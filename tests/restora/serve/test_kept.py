"""Facts about results that are kept: for a time, up to a size and a number, for one client only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from restora.errors import NotFoundError
from restora.serve import kept as kept_module
from restora.serve.kept import KeptResults
from restora.serve.tokens import Client
from restora.serve.uploads import Blob

ANN, BOB = Client("ann"), Client("bob")


def blob(folder: Path, size: int) -> Blob:
    made = Blob(folder, memory_bytes=0, most_bytes=1000)
    made.write(bytes(size))
    made.finish()
    return made


def keeping(
    test: Callable[[KeptResults], Awaitable[None]], *, keep_s: float = 60, most_bytes: int = 100
) -> None:
    async def run() -> None:
        results = KeptResults(keep_s=keep_s, most_bytes=most_bytes)
        try:
            await test(results)
        finally:
            results.close()

    asyncio.run(run())


def test_the_oldest_go_when_there_is_no_room(tmp_path: Path) -> None:
    async def test(results: KeptResults) -> None:
        ids = [results.add(blob(tmp_path, 40), "image/png", ANN).id for _ in range(3)]
        assert (len(results), results.bytes) == (2, 80)
        with pytest.raises(NotFoundError, match="it has expired"):
            results.get(ids[0], ANN)
        assert results.get(ids[2], ANN).media_type == "image/png"
        assert len(list(tmp_path.iterdir())) == 2

    keeping(test)
    assert list(tmp_path.iterdir()) == []


def test_the_newest_is_kept_even_if_it_alone_is_too_large(tmp_path: Path) -> None:
    async def test(results: KeptResults) -> None:
        results.add(blob(tmp_path, 40), "image/png", ANN)
        large = results.add(blob(tmp_path, 400), "image/png", ANN)
        assert len(results) == 1
        assert results.get(large.id, ANN) is large

    keeping(test)


def test_there_is_a_limit_to_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_module, "MOST_RESULTS", 3)

    async def test(results: KeptResults) -> None:
        for _ in range(5):
            results.add(blob(tmp_path, 1), "image/png", ANN)
        assert len(results) == len(list(tmp_path.iterdir())) == 3

    keeping(test)


def test_a_result_ends_with_its_time(tmp_path: Path) -> None:
    async def test(results: KeptResults) -> None:
        results.add(blob(tmp_path, 1), "image/png", ANN)
        while len(results):
            await asyncio.sleep(0.005)
        assert list(tmp_path.iterdir()) == []

    keeping(test, keep_s=0.02)


def test_a_result_belongs_to_its_client(tmp_path: Path) -> None:
    async def test(results: KeptResults) -> None:
        found = results.add(blob(tmp_path, 1), "image/png", ANN)
        with pytest.raises(NotFoundError):
            results.get(found.id, BOB)
        with pytest.raises(NotFoundError):
            results.remove(found.id, BOB)
        results.remove(found.id, ANN)
        with pytest.raises(NotFoundError):
            results.remove(found.id, ANN)

    keeping(test)
