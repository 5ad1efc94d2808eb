"""Share one session among many callers: concurrent requests run in common batches."""

from __future__ import annotations

import threading
import time
from bisect import insort
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Literal

import numpy as np

from restora.artifact import ArtifactInfo
from restora.backends.base import Batch, Session, SizeLimits, TilingSession, check_batch
from restora.backends.batch_requests import Caller, Part, Request, SessionStats
from restora.errors import DeviceLostError, DeviceMemoryError, SessionError
from restora.tiling import Progress, Tiling, plan_tiles, run_tiles

Sharing = Literal["oldest", "fair"]

_AHEAD = 2  # calls per photo: one runs while the other one waits
_FAIR_CALLS = 4  # of a photo that is tiled on the device, where nobody can get in between


class SharedSession:
    """A session whose callers share batches. Each caller needs its own thread.

    session: the session that runs the batches; close() closes it too
    batch: the largest batch in one call
    sharing: "oldest": all tiles of a photo have its age, and the oldest request runs first. "fair":
        photos get equal numbers of pixels, so that a small photo passes a large one that came
        earlier

    No request waits for a batch to fill: requests gather while a batch runs, so batches are full
    exactly when the network is the bottleneck. Up to limits.best_calls calls run at the same time.
    A call takes the first waiting request and fills the batch with later requests of the same
    shape. The order in which photos finish is not
    defined. If a batch with parts of several callers fails, each part runs again alone, so only
    the caller whose part is at fault gets the error.
    """

    def __init__(self, session: Session, *, batch: int = 1, sharing: Sharing = "oldest") -> None:
        self.inner = session
        self.sharing: Sharing = sharing
        limits = session.limits
        self.batch = min(batch, limits.max_batch or batch)
        self._changed = threading.Condition()
        self._waiting: list[Request] = []  # in the order of their turns
        self._reached = 0  # the turn of the last request that began to run
        self._ages = count()
        self._running = 0
        self._photos = 0
        self._closed = False
        self._freed = False
        self._use = SessionStats()
        self._busy_since = 0.0

    @property
    def info(self) -> ArtifactInfo:
        return self.inner.info

    @property
    def limits(self) -> SizeLimits:
        return self.inner.limits

    @property
    def gains_by_batches(self) -> bool:
        """Whether a batch is faster than its images one by one."""
        return self.limits.best_batch > 1

    @property
    def is_closed(self) -> bool:
        return self._closed

    @property
    def use(self) -> SessionStats:
        with self._changed:
            return self._use

    def run(self, batch: Batch) -> Batch:
        return self._run(batch, Caller(next(self._ages)))

    def run_tiles(self, image: Batch, *, tiling: Tiling, progress: Progress | None = None) -> Batch:
        """Restore an image in tiles, on the device if the session supports it.

        An image with fewer tiles than a batch is tiled on the host while other images are in
        flight, so that their tiles share batches.
        """
        height, width, _ = image.shape
        scale, multiple = self.info.scale, self.limits.multiple
        plan = plan_tiles(height, width, tiling, multiple=multiple, scale=scale)
        with self._changed:
            self._photos += 1
            others = self._photos > 1
        try:
            tiles = len(plan.rows) * len(plan.cols)
            fills = tiles >= self.batch
            short = self.sharing == "oldest" or tiles <= _FAIR_CALLS * self.batch
            if isinstance(self.inner, TilingSession) and short and (fills or not others):
                with self._lane(tiles):
                    return self.inner.run_tiles(image, tiling=tiling, progress=progress)
            return run_tiles(
                image,
                partial(self._run, caller=Caller(next(self._ages))),
                scale=scale,
                tiling=tiling,
                multiple=multiple,
                progress=progress,
                ahead=_AHEAD,
            )
        finally:
            with self._changed:
                self._photos -= 1

    def close(self) -> None:
        """Wait for running calls and close the session; waiting calls raise SessionError.

        A second call waits until the first one has finished.
        """
        with self._changed:
            self._closed = True
            for request in self._waiting:
                request.error = self._closed_error()
            self._waiting.clear()
            self._changed.notify_all()
            while self._running:
                self._changed.wait()
            if not self._freed:
                self._freed = True
                self.inner.close()

    def _run(self, batch: Batch, caller: Caller) -> Batch:
        check_batch(batch, self.info, self.limits)
        with self._changed:
            self._check_open()
            request = Request(batch, self._turn_of(batch, caller))
            insort(self._waiting, request, key=lambda waiting: waiting.turn)
            while request.left and request.error is None:
                if self._waiting and self._running < self.limits.best_calls:
                    self._lead()
                else:
                    self._changed.wait()
        if request.error is not None:
            raise request.error
        assert request.result is not None
        return request.result

    def _turn_of(self, batch: Batch, caller: Caller) -> int:
        """By age; or by self-clocked fair queueing: a request gets its turn when its caller has as
        many pixels as all others (Golestani, INFOCOM 1994)."""
        if self.sharing == "oldest":
            return caller.age
        count, height, width, _ = batch.shape
        caller.granted = max(caller.granted, self._reached) + count * height * width
        return caller.granted

    def _lead(self) -> None:
        """Run the next batch. Called with the lock held; releases it during inference."""
        parts = self._take_parts()
        self._begin(sum(part.stop - part.start for part in parts))
        self._changed.release()
        results: list[Batch | Exception] = [SessionError("the call was interrupted")] * len(parts)
        try:
            results = self._run_parts(parts)
        finally:
            self._changed.acquire()
            self._end()
            for part, result in zip(parts, results, strict=True):
                self._deliver(part, result)

    def _take_parts(self) -> list[Part]:
        """Take the first request and fill the batch with others of its shape, in order."""
        self._reached = self._waiting[0].turn
        shape = self._waiting[0].batch.shape[1:]
        parts: list[Part] = []
        room = self.batch
        for request in list(self._waiting):
            if not room:
                break
            if request.batch.shape[1:] != shape:
                continue
            start = request.taken
            request.taken = min(len(request.batch), start + room)
            room -= request.taken - start
            parts.append(Part(request, start, request.taken))
            if request.taken == len(request.batch):
                self._waiting.remove(request)
        return parts

    def _run_parts(self, parts: list[Part]) -> list[Batch | Exception]:
        try:
            if len(parts) == 1:
                return [self.inner.run(parts[0].batch)]
            whole = self.inner.run(np.concatenate([part.batch for part in parts]))
        except DeviceLostError as error:
            return [error] * len(parts)
        except Exception as error:  # noqa: BLE001  raised by each caller
            if isinstance(error, DeviceMemoryError):
                self.batch = 1
            return [error] if len(parts) == 1 else [self._run_parts([p])[0] for p in parts]
        ends = np.cumsum([part.stop - part.start for part in parts])
        return list(np.split(whole, ends[:-1]))

    def _deliver(self, part: Part, result: Batch | Exception) -> None:
        request = part.request
        if isinstance(result, Exception):
            request.error = request.error or result
            if request in self._waiting:
                self._waiting.remove(request)
        elif len(result) == len(request.batch):
            request.result, request.left = result, 0
        else:
            if request.result is None:
                shape = (len(request.batch), *result.shape[1:])
                request.result = np.empty(shape, result.dtype)
            request.result[part.start : part.stop] = result
            request.left -= len(result)

    @contextmanager
    def _lane(self, pictures: int) -> Iterator[None]:
        with self._changed:
            while self._running >= self.limits.best_calls and not self._closed:
                self._changed.wait()
            self._check_open()
            self._begin(pictures)
        try:
            yield
        finally:
            with self._changed:
                self._end()

    def _begin(self, pictures: int) -> None:
        if not self._running:
            self._busy_since = time.perf_counter()
        self._running += 1
        use = self._use
        self._use = SessionStats(use.busy_s, use.calls + 1, use.pictures + pictures)

    def _end(self) -> None:
        self._running -= 1
        if not self._running:
            busy_s = self._use.busy_s + time.perf_counter() - self._busy_since
            self._use = SessionStats(busy_s, self._use.calls, self._use.pictures)
        self._changed.notify_all()

    def _check_open(self) -> None:
        if self._closed:
            raise self._closed_error()

    def _closed_error(self) -> SessionError:
        return SessionError(f"the session of {self.info.model} is closed")
