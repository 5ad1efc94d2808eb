"""Facts about one session with many callers: batches are shared, pictures and errors are not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from fakes import NearestSession
from restora.backends import SharedSession
from restora.backends.base import Batch
from restora.backends.batch_requests import Caller
from restora.errors import (
    DeviceLostError,
    DeviceMemoryError,
    NonFiniteOutputError,
    SessionError,
    ShapeError,
)
from restora.tiling import Tiling, run_tiles

TILES = Tiling(size=16, overlap=4, batch=4)


class GatedSession(NearestSession):
    """Does not begin its next call before the gate opens; pictures that begin with 66 fail."""

    def __init__(self, error: type[Exception] = NonFiniteOutputError) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.error = error
        self.closed = False

    def run(self, batch: Batch) -> Batch:
        self.entered.release()
        assert self.gate.wait(10)
        if (batch[:, 0, 0, 0] == 66).any():
            self.shapes.append(batch.shape)
            raise self.error("a picture of sixes")
        return super().run(batch)

    def close(self) -> None:
        self.closed = True


def picture(value: int, count: int = 1, side: int = 4) -> Batch:
    return np.full((count, side, side, 3), value, np.uint8)


@contextmanager
def held(session: GatedSession, calls: int) -> Iterator[ThreadPoolExecutor]:
    """Calls are made in threads; the one that runs does not end while the body runs."""
    session.gate.clear()
    with ThreadPoolExecutor(calls) as threads:
        try:
            yield threads
        finally:
            session.gate.set()


def until(holds: Callable[[], object]) -> None:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def queue(
    threads: ThreadPoolExecutor, shared: SharedSession, batches: Iterable[Batch]
) -> list[Future[Batch]]:
    """Calls that wait behind the one that runs, in this order."""
    futures = []
    for batch in batches:
        before = len(shared._waiting)
        futures.append(threads.submit(shared.run, batch))
        until(lambda before=before: len(shared._waiting) > before)
    return futures


def test_what_comes_while_a_batch_runs_runs_together() -> None:
    inner = GatedSession()
    shared = SharedSession(inner, batch=4)
    with held(inner, 7) as threads:
        first = threads.submit(shared.run, picture(0))
        inner.entered.acquire()
        others = queue(threads, shared, [picture(value) for value in range(1, 7)])
    assert [shape[0] for shape in inner.shapes] == [1, 4, 2]
    for value, future in enumerate([first, *others]):
        assert np.array_equal(future.result(), picture(value, side=8))
    assert (shared.use.calls, shared.use.pictures) == (3, 7)
    assert shared.use.busy_s > 0


def test_batches_of_several_pictures_are_cut_to_fill_the_batch() -> None:
    inner = GatedSession()
    shared = SharedSession(inner, batch=4)
    with held(inner, 4) as threads:
        threads.submit(shared.run, picture(0))
        inner.entered.acquire()
        futures = queue(threads, shared, [picture(value, 3) for value in (1, 2, 3)])
    assert [shape[0] for shape in inner.shapes] == [1, 4, 4, 1]
    for value, future in zip((1, 2, 3), futures, strict=True):
        assert np.array_equal(future.result(), picture(value, 3, side=8))


def test_of_what_waits_the_oldest_runs_first() -> None:
    inner = GatedSession()
    shared = SharedSession(inner)
    with held(inner, 4) as threads:
        threads.submit(shared.run, picture(0))
        inner.entered.acquire()
        queue(threads, shared, [picture(0, side=side) for side in (16, 8, 12)])
    assert [shape[1] for shape in inner.shapes] == [4, 16, 8, 12]


def test_tiles_of_an_earlier_photo_go_before_those_of_a_later_one_that_wait_too() -> None:
    """All tiles of a photo are of its age, whenever they come."""
    inner = GatedSession()
    shared = SharedSession(inner)
    early, late = Caller(next(shared._ages)), Caller(next(shared._ages))
    with held(inner, 3) as threads:
        threads.submit(shared.run, picture(0))
        inner.entered.acquire()
        threads.submit(shared._run, picture(0, side=8), late)
        until(lambda: len(shared._waiting) == 1)
        threads.submit(shared._run, picture(0, side=16), early)
        until(lambda: len(shared._waiting) == 2)
    assert [shape[1] for shape in inner.shapes] == [4, 16, 8]


def test_other_shapes_are_not_mixed_in() -> None:
    inner = GatedSession()
    shared = SharedSession(inner, batch=4)
    with held(inner, 4) as threads:
        threads.submit(shared.run, picture(0))
        inner.entered.acquire()
        sides = [4, 8, 4]
        futures = queue(threads, shared, [picture(1, side=side) for side in sides])
    assert [shape[:2] for shape in inner.shapes] == [(1, 4), (2, 4), (1, 8)]
    assert [future.result().shape[1] for future in futures] == [2 * side for side in sides]


def test_a_lone_caller_waits_for_nobody() -> None:
    inner = NearestSession()
    shared = SharedSession(inner, batch=8)
    batch = picture(3, 2)
    assert np.array_equal(shared.run(batch), inner.run(batch))
    assert inner.shapes == [(2, 4, 4, 3)] * 2


@pytest.mark.parametrize("error", [NonFiniteOutputError, SessionError, DeviceMemoryError])
def test_a_picture_that_fails_fails_alone(error: type[Exception]) -> None:
    inner = GatedSession(error)
    shared = SharedSession(inner, batch=4)
    with held(inner, 4) as threads:
        threads.submit(shared.run, picture(0))
        inner.entered.acquire()
        values = (1, 66, 2)
        queued = queue(threads, shared, [picture(value) for value in values])
        futures = dict(zip(values, queued, strict=True))
    with pytest.raises(error, match="sixes"):
        futures[66].result()
    for value in (1, 2):
        assert np.array_equal(futures[value].result(), picture(value, side=8))


def test_a_lost_device_is_lost_for_all() -> None:
    inner = GatedSession(DeviceLostError)
    shared = SharedSession(inner, batch=4)
    with held(inner, 3) as threads:
        threads.submit(shared.run, picture(0))
        inner.entered.acquire()
        futures = queue(threads, shared, [picture(value) for value in (1, 66)])
    for future in futures:
        with pytest.raises(DeviceLostError):
            future.result()


def test_full_memory_ends_batches() -> None:
    inner = GatedSession(DeviceMemoryError)
    shared = SharedSession(inner, batch=4)
    with held(inner, 3) as threads:
        threads.submit(shared.run, picture(0))
        inner.entered.acquire()
        futures = queue(threads, shared, [picture(value) for value in (1, 66)])
    assert isinstance(futures[1].exception(), DeviceMemoryError)
    assert shared.batch == 1


def test_a_wrong_batch_is_its_callers_own_error() -> None:
    with pytest.raises(ShapeError):
        SharedSession(NearestSession()).run(np.zeros((1, 4, 4, 4), np.uint8))


def test_closing_waits_for_what_runs_and_refuses_the_rest() -> None:
    inner = GatedSession()
    shared = SharedSession(inner)
    with held(inner, 3) as threads:
        running = threads.submit(shared.run, picture(1))
        inner.entered.acquire()
        (waiting,) = queue(threads, shared, [picture(2)])
        closing = threads.submit(shared.close)
        until(lambda: shared.is_closed)
        assert not inner.closed
    closing.result()
    assert inner.closed
    assert np.array_equal(running.result(), picture(1, side=8))
    with pytest.raises(SessionError, match="closed"):
        waiting.result()
    with pytest.raises(SessionError, match="closed"):
        shared.run(picture(3))


def test_no_more_calls_run_at_once_than_the_session_makes_use_of() -> None:
    class Counting(NearestSession):
        inside, most = 0, 0
        changed = threading.Condition()

        def run(self, batch: Batch) -> Batch:
            with self.changed:
                self.inside += 1
                self.most = max(self.most, self.inside)
                self.changed.notify_all()
                assert self.changed.wait_for(lambda: self.most >= self.limits.best_calls, 60)
            time.sleep(0.005)  # in which one call too many shows itself
            result = super().run(batch)
            with self.changed:
                self.inside -= 1
            return result

    for calls in (1, 2):
        inner = Counting()
        inner.limits = replace(inner.limits, best_calls=calls)
        shared = SharedSession(inner)
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(shared.run, [picture(value) for value in range(12)]))
        assert inner.most == calls


def test_8_threads_and_100_pictures_and_none_mixed() -> None:
    inner = NearestSession()
    shared = SharedSession(inner, batch=4)
    rng = np.random.default_rng(0)
    sizes = [(int(rng.integers(8, 60)), int(rng.integers(8, 60))) for _ in range(100)]
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]

    def restore(image: Batch) -> Batch:
        return shared.run_tiles(image, tiling=TILES)

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(restore, images))
    for image, result in zip(images, results, strict=True):
        assert np.array_equal(result, run_tiles(image, inner.run, scale=2, tiling=TILES))


class TilingFake(GatedSession):
    """Says which way a picture took."""

    whole = 0

    def run_tiles(
        self, image: Batch, *, tiling: Tiling, progress: Callable[[int, int], None] | None = None
    ) -> Batch:
        self.whole += 1
        assert self.gate.wait(10)
        return run_tiles(image, NearestSession().run, scale=2, tiling=tiling, progress=progress)


def test_a_picture_is_left_to_the_device_unless_it_would_leave_room_that_others_need() -> None:
    inner = TilingFake()
    shared = SharedSession(inner, batch=4)
    small = np.zeros((16, 16, 3), np.uint8)
    large = np.zeros((40, 40, 3), np.uint8)
    shared.run_tiles(small, tiling=TILES)
    shared.run_tiles(large, tiling=TILES)
    assert inner.whole == 2
    with held(inner, 3) as threads:
        futures = [threads.submit(shared.run_tiles, large, tiling=TILES)]
        until(lambda: inner.whole == 3)
        futures += [threads.submit(shared.run_tiles, small, tiling=TILES) for _ in range(2)]
        until(lambda: len(shared._waiting) == 2)
    assert inner.whole == 3
    assert [shape[0] for shape in inner.shapes] == [2]
    assert [len(future.result()) for future in futures] == [80, 32, 32]
