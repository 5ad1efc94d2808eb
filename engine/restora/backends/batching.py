"""Share one session among many callers: concurrent requests run in common batches."""

from __future__ import annotations

import threading
import time
from bisect import insort
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import numpy as np

from restora.artifact import ArtifactInfo
from restora.backends.base import Batch, Session, SizeLimits, TilingSession, check_batch
from restora.errors import DeviceLostError, DeviceMemoryError, SessionError
from restora.tiling import Progress, Tiling, plan_tiles, run_tiles

_AHEAD = 2  # calls per photo: one runs while the other one waits


@dataclass(frozen=True, slots=True)
class SessionStats:
    """Usage of a session.

    busy_s: seconds in which at least one call was running
    calls: finished calls
    pictures: images in all of these calls
    """

    busy_s: float = 0.0
    calls: int = 0
    pictures: int = 0


@dataclass(slots=True, eq=False)
class _Request:
    """The batch of one caller.

    age: lower for callers that came earlier
    taken: how many images are running or done
    left: how many images are not done
    """

    batch: Batch
    age: int
    taken: int = 0
    left: int = field(init=False)
    result: Batch | None = None
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.left = len(self.batch)


@dataclass(frozen=True, slots=True)
class _Part:
    """The images start..stop of a request."""

    request: _Request
    start: int
    stop: int

    @property
    def batch(self) -> Batch:
        return self.request.batch[self.start : self.stop]


class SharedSession:
    """A session whose callers share batches. Each caller needs its own thread.

    session: the session that runs the batches; close() closes it too
    batch: the largest batch in one call

    No request waits for a batch to fill: requests gather while a batch runs, so batches are full
    exactly when the network is the bottleneck. Up to limits.best_calls calls run at the same time.
    A call takes the oldest waiting request and fills the batch with later requests of the same
    shape; all tiles of a photo have the age of the photo. The order in which photos finish is not
    defined. If a batch with parts of several callers fails, each part runs again alone, so only
    the caller whose part is at fault gets the error.
    """

    def __init__(self, session: Session, *, batch: int = 1) -> None:
        self.inner = session
        limits = session.limits
        self.batch = min(batch, limits.max_batch or batch)
        self._changed = threading.Condition()
        self._waiting: list[_Request] = []  # oldest first
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
        return self._run(batch, next(self._ages))

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
            fills = len(plan.rows) * len(plan.cols) >= self.batch
            if isinstance(self.inner, TilingSession) and (fills or not others):
                with self._lane(len(plan.rows) * len(plan.cols)):
                    return self.inner.run_tiles(image, tiling=tiling, progress=progress)
            return run_tiles(
                image,
                partial(self._run, age=next(self._ages)),
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

    def _run(self, batch: Batch, age: int) -> Batch:
        check_batch(batch, self.info, self.limits)
        request = _Request(batch, age)
        with self._changed:
            self._check_open()
            insort(self._waiting, request, key=lambda waiting: waiting.age)
            while request.left and request.error is None:
                if self._waiting and self._running < self.limits.best_calls:
                    self._lead()
                else:
                    self._changed.wait()
        if request.error is not None:
            raise request.error
        assert request.result is not None
        return request.result

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

    def _take_parts(self) -> list[_Part]:
        """Take the oldest request and fill the batch with others of its shape, oldest first."""
        shape = self._waiting[0].batch.shape[1:]
        parts: list[_Part] = []
        room = self.batch
        for request in list(self._waiting):
            if not room:
                break
            if request.batch.shape[1:] != shape:
                continue
            start = request.taken
            request.taken = min(len(request.batch), start + room)
            room -= request.taken - start
            parts.append(_Part(request, start, request.taken))
            if request.taken == len(request.batch):
                self._waiting.remove(request)
        return parts

    def _run_parts(self, parts: list[_Part]) -> list[Batch | Exception]:
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

    def _deliver(self, part: _Part, result: Batch | Exception) -> None:
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
