"""The networks of a Restorer: each is opened once, and all are closed together."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from restora.artifact import ArtifactInfo, Io, Kind
from restora.backends import OpenedSession, Session, SessionStats, SharedSession
from restora.backends.base import SizeLimits
from restora.backends.given import check_given
from restora.backends.options import NCNN_BACKENDS, BackendChoice, PlanOptions, SessionOptions
from restora.errors import MissingModelError, SessionError
from restora.options import RestoreOptions
from restora.tiling import Tiling

_WHOLE_PX = 1 << 20  # of a call, where photos are not cut, for the estimate of memory
_SMALL: dict[BackendChoice, BackendChoice] = {
    "auto": "auto",
    "tensorrt": "auto",
    "cuda": "cuda",
    "openvino": "openvino",
    "cpu": "cpu",
    "ncnn": "auto",
    "ncnn-vulkan": "auto",
}
_DAMAGE: tuple[Kind, ...] = ("damage-detector", "repairer")


@dataclass(frozen=True, slots=True)
class OpenNetwork:
    """Facts about one open network.

    backend: the runtime: "tensorrt", "cuda", "openvino", "cpu", "ncnn" or "ncnn-vulkan"; "given"
        for a session that was opened elsewhere
    precision: of its arithmetic
    limits: sizes of input that it takes
    batch: the most tiles or faces in one call
    tiling: how photos are cut for it; None unless it is an upsampler
    stats: what it has done so far; None for detectors and parsers, which are not counted
    """

    info: ArtifactInfo
    backend: str
    precision: str
    limits: SizeLimits
    batch: int = 1
    tiling: Tiling | None = None
    stats: SessionStats | None = None

    @property
    def call_px(self) -> int:
        """The most input pixels of one call, if photos are cut."""
        if self.info.side is not None:
            largest = self.info.side**2
        else:
            largest = (self.tiling and self.tiling.largest_px) or _WHOLE_PX
        return largest * self.batch

    def describe(self) -> str:
        """One line for people: what runs where."""
        where = "in the session that was given" if self.backend == "given" else f"on {self.backend}"
        return f"{self.info.model} runs {where} in {self.precision}"


def max_in_flight(networks: Sequence[OpenNetwork]) -> int:
    """Slots that keep the networks busy. A photo takes slots_for its size. Two photos always fit:
    while one is computed, the other is cut and joined."""
    return 2 * _slots_of_one(networks)


def slots_for(networks: Sequence[OpenNetwork], width: int, height: int) -> int:
    """Slots that a photo of this size takes: one for each tile, at most half of all."""
    upsampler = next((n for n in networks if n.tiling is not None), None)
    if upsampler is None or upsampler.tiling is None:
        return 1
    multiple = upsampler.limits.multiple
    tall, wide = (side + -side % multiple for side in (height, width))
    rows, columns = upsampler.tiling.split(tall, wide, multiple)
    return min(len(rows) * len(columns), _slots_of_one(networks))


def _slots_of_one(networks: Sequence[OpenNetwork]) -> int:
    """Tiles, or faces, that fill all calls which a network makes use of."""
    # a face network that gains nothing by batches is no reason to hold more photos
    used = [
        n
        for n in networks
        if n.stats is not None and (n.tiling is not None or n.limits.best_batch > 1)
    ]
    return max([1, *(n.batch * n.limits.best_calls for n in used)])


class ChooseSession(Protocol):
    """The type of choose_session."""

    def __call__(
        self, artifact: Path, /, *, options: SessionOptions | None = None
    ) -> OpenedSession: ...


class Networks:
    """Opens artifacts and owns their sessions. Safe to call from several threads.

    face_batch: the most faces in one call of a face network
    choose: opens one artifact
    """

    def __init__(self, options: RestoreOptions, *, face_batch: int, choose: ChooseSession) -> None:
        self._options = options
        self._face_batch = face_batch
        self._choose = choose
        self._changed = threading.Condition()
        self._opening = threading.RLock()
        self._opened: dict[tuple[Kind, Io], OpenedSession] = {}
        self._shared: list[SharedSession] = []
        self._closed = False
        self._freeing = False
        self._freed = False
        self._running = 0
        self._mine = threading.local()

    @property
    def opened(self) -> list[OpenedSession]:
        """All networks in the order in which they were opened, also after closing."""
        with self._changed:
            return list(self._opened.values())

    def describe(self) -> tuple[OpenNetwork, ...]:
        """Facts about every network, in the order in which they were opened."""
        with self._changed:
            shared = {id(session.inner): session for session in self._shared}
            return tuple(
                self._describe(opened, shared.get(id(opened.session)))
                for opened in self._opened.values()
            )

    def _describe(self, opened: OpenedSession, shared: SharedSession | None) -> OpenNetwork:
        session = opened.session
        found = OpenNetwork(session.info, opened.backend, opened.precision, session.limits)
        if shared is None:
            return found
        tiling = self._options.tiling_for(session) if session.info.kind == "upsampler" else None
        return replace(found, batch=shared.batch, tiling=tiling, stats=shared.use)

    @property
    def shared(self) -> list[SharedSession]:
        """Sessions of the networks that make pictures, which share their batches."""
        with self._changed:
            return list(self._shared)

    @property
    def is_closed(self) -> bool:
        return self._closed

    def check_open(self) -> None:
        """Raise SessionError after close()."""
        if self._closed:
            raise _closed_error()

    def find(self, kind: Kind, io: Io) -> OpenedSession | None:
        with self._changed:
            return self._opened.get((kind, io))

    def open(self, path: Path, kind: Kind, io: Io) -> Session:
        """Open the artifact at `path` for pictures of type `io`, unless such a session is open.

        Raises MissingModelError if the artifact takes pictures of another type, SessionError
        after close(), and what `choose` raises.
        """
        with self._opening:
            self.check_open()
            known = self.session(kind, io)
            return self._open(path, kind, io) if known is None else known

    def session(self, kind: Kind, io: Io) -> Session | None:
        """The open session that callers share; None if there is none."""
        with self._changed:
            opened = self._opened.get((kind, io))
            if opened is None:
                return None
            shared = (one for one in self._shared if one.inner is opened.session)
            return next(shared, None) or opened.session

    def _open(self, path: Path, kind: Kind, io: Io) -> Session:
        opened = self._choose(path, options=self._session_options(kind))
        session = opened.session
        if session.info.io != io:
            session.close()
            noun = "faces" if kind == "face" else "pictures"
            raise MissingModelError(
                f"an artifact for {io} {noun} is needed, {session.info.model}'s takes "
                f"{session.info.io}: make one with `restora export --io {io}`"
            )
        return self._keep(opened, kind, io)

    def adopt(self, session: Session, kind: Kind, io: Io) -> Session:
        """Take over a session that is open already; close() closes it too."""
        opened = OpenedSession(check_given(session), "given", session.info.precision)
        return self._keep(opened, kind, io)

    def _keep(self, opened: OpenedSession, kind: Kind, io: Io) -> Session:
        session = opened.session
        shared = None
        if kind in ("upsampler", "face"):
            batch = self._options.tiling_for(session).batch
            shared = SharedSession(
                session,
                batch=batch if kind == "upsampler" else self._face_batch,
                sharing=self._options.sharing,
            )
        with self._changed:
            if not self._closed:
                self._opened[kind, io] = opened
                if shared is not None:
                    self._shared.append(shared)
                return shared or session
        session.close()
        raise _closed_error()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """One call that runs networks: close() waits for it. Raises SessionError after close()."""
        with self._changed:
            self.check_open()
            self._running += 1
        depth = getattr(self._mine, "depth", 0)
        self._mine.depth = depth + 1
        try:
            yield
        finally:
            self._mine.depth = depth
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def close(self, *, finish: bool) -> None:
        """Refuse new calls, wait for those that run, and free all sessions.

        finish: let running calls end; otherwise they raise SessionError at their next batch

        A second call waits until the first one is done. Raises SessionError if a call of in_use
        in this very thread would have to be waited for.
        """
        if getattr(self._mine, "depth", 0):
            raise SessionError(
                "a Restorer cannot be closed by a callback of its own call: that would wait for "
                "itself"
            )
        with self._changed:
            self._closed = True
            while finish and self._running:
                self._changed.wait()
            first, self._freeing = not self._freeing, True
        if first:
            self._free()
        with self._changed:
            while self._running or not self._freed:
                self._changed.wait()

    def _free(self) -> None:
        shared = {id(session.inner): session for session in self.shared}
        try:
            for opened in self.opened:
                shared.get(id(opened.session), opened.session).close()
        finally:
            with self._changed:
                self._freed = True
                self._changed.notify_all()

    def _session_options(self, kind: Kind) -> SessionOptions:
        options = self._options.session_options()
        ncnn = options.backend in NCNN_BACKENDS
        if kind == "upsampler" or (kind == "face" and not ncnn):
            return options
        # small networks, which have one precision and tiles of their own
        small = replace(options, precision="auto", plans=PlanOptions(any_built=True))
        if ncnn and kind in _DAMAGE:
            return small
        # ncnn cannot run the others
        device = "cpu" if ncnn or options.device == "cpu" else "auto"
        return replace(small, backend=_SMALL[options.backend], device=device)


def _closed_error() -> SessionError:
    return SessionError("this Restorer is closed: make a new one")
