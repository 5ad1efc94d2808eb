"""Facts about fair shares of a session: small photos pass a large one, and do not starve it."""

from __future__ import annotations

import threading
from collections.abc import Sized
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from fakes import NearestSession, restorer_of
from restora.backends import SharedSession
from restora.backends.base import Batch
from restora.backends.batch_requests import Request
from restora.backends.batching import Sharing
from restora.errors import OptionError
from restora.options import RestoreOptions
from restora.pipeline import Restorer
from restora.tiling import Progress, Tiling
from serve_rig import until

TILES = Tiling(size=16, overlap=0)


class Recorder(NearestSession):
    """Runs one call for each permit, and records what its pictures begin with."""

    def __init__(self) -> None:
        super().__init__()
        self.permits = threading.Semaphore(0)
        self.order: list[int] = []
        self.started: list[int] = []

    def run(self, batch: Batch) -> Batch:
        self.started += [int(value) for value in batch[:, 0, 0, 0]]
        assert self.permits.acquire(timeout=60)
        self.order += [int(value) for value in batch[:, 0, 0, 0]]
        return super().run(batch)


def photo(value: int, side: int) -> Batch:
    return np.full((side, side, 3), value, np.uint8)


def order_of(sharing: Sharing) -> list[int]:
    """A photo of nine tiles comes first, three of one tile come while its first tile runs."""
    session = Recorder()
    shared = SharedSession(session, sharing=sharing)
    with ThreadPoolExecutor(4) as threads:
        threads.submit(shared.run_tiles, photo(9, 48), tiling=TILES)
        until(lambda: len(shared._waiting) == 1)
        for value in (1, 2, 3):
            threads.submit(shared.run_tiles, photo(value, 16), tiling=TILES)
            until(partial(has_length, shared._waiting, 1 + value))
        for tile in range(1, 13):
            # the large photo always has a tile that waits, but for its last one
            until(partial(has_length, session.started, tile))
            until(lambda: session.started.count(9) == 9 or 9 in values_of(shared._waiting))
            session.permits.release()
            until(partial(has_length, session.order, tile))
    return session.order


def has_length(things: Sized, length: int) -> bool:
    return len(things) == length


def values_of(requests: list[Request]) -> list[int]:
    return [int(request.batch[0, 0, 0, 0]) for request in list(requests)]


def test_the_oldest_photo_runs_first_unless_shares_are_fair() -> None:
    assert order_of("oldest") == [9] * 9 + [1, 2, 3]


def test_with_fair_shares_small_photos_pass_a_large_one() -> None:
    order = order_of("fair")
    assert sorted(order[:5]) == [1, 2, 3, 9, 9]
    assert order[5:] == [9] * 7


def test_small_photos_that_keep_coming_do_not_stop_a_large_one() -> None:
    """Each gets as many pixels: a tile of the large photo for each four quarters of a tile."""
    session = Recorder()
    shared = SharedSession(session, sharing="fair")
    with ThreadPoolExecutor(3) as threads:
        large = threads.submit(shared.run_tiles, photo(9, 48), tiling=TILES)
        until(lambda: len(shared._waiting) == 1)
        small = [threads.submit(shared.run, photo(1, 8)[None])]
        until(lambda: len(shared._waiting) == 2)
        for _ in range(200):
            if large.done():
                break
            if small[-1].done():
                small.append(threads.submit(shared.run, photo(1, 8)[None]))
                until(lambda: shared._waiting or large.done())
            session.permits.release()
            until(lambda: session.permits._value == 0 or large.done())
        session.permits.release(1000)
    before = session.order[: len(session.order) - session.order[::-1].index(9)]
    assert before.count(9) == 9
    assert before.count(1) <= 4 * 9 + 4


class OnDevice(Recorder):
    """Tiles on its own."""

    def __init__(self) -> None:
        super().__init__()
        self.whole: list[int] = []

    def run_tiles(self, image: Batch, *, tiling: Tiling, progress: Progress | None = None) -> Batch:
        self.whole.append(len(image))
        return image.repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.parametrize(("sharing", "whole"), [("oldest", [32, 48]), ("fair", [32])])
def test_with_fair_shares_a_device_tiles_only_small_photos_at_one_go(
    sharing: Sharing, whole: list[int]
) -> None:
    session = OnDevice()
    session.permits.release(100)
    shared = SharedSession(session, sharing=sharing)
    for side in (32, 48):
        result = shared.run_tiles(photo(5, side), tiling=TILES)
        assert result.shape == (2 * side, 2 * side, 3)
    assert session.whole == whole


def test_a_restorer_shares_its_networks_as_its_options_say() -> None:
    assert isinstance(restorer_of(NearestSession()).session("upsampler", "uint8"), SharedSession)
    both: tuple[Sharing, ...] = ("oldest", "fair")
    for sharing in both:
        options = RestoreOptions(sharing=sharing)
        with Restorer.from_session(NearestSession(), options=options) as restorer:
            shared = restorer.session("upsampler", "uint8")
            assert isinstance(shared, SharedSession)
            assert shared.sharing == sharing
    with pytest.raises(OptionError, match="sharing must be one of 'oldest', 'fair'"):
        RestoreOptions(sharing="random")  # type: ignore[arg-type]
