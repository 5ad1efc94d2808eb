"""The networks that a Restorer has open: each is opened once, and all are closed together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from restora.artifact import Io, Kind
from restora.backends import Opened, Session, SharedSession
from restora.backends.options import BackendChoice, SessionOptions
from restora.errors import MissingModelError, SessionError
from restora.options import RestoreOptions

_SMALL: dict[BackendChoice, BackendChoice] = {
    "auto": "auto",
    "tensorrt": "auto",
    "cuda": "cuda",
    "openvino": "openvino",
    "cpu": "cpu",
}


class ChooseSession(Protocol):
    """The type of choose_session."""

    def __call__(self, artifact: Path, /, *, options: SessionOptions | None = None) -> Opened: ...


class Networks:
    """Opens artifacts and owns their sessions. Safe to call from several threads.

    face_batch  the most faces in one call of a face network
    choose      opens one artifact
    """

    def __init__(self, options: RestoreOptions, *, face_batch: int, choose: ChooseSession) -> None:
        self._options = options
        self._face_batch = face_batch
        self._choose = choose
        self._changed = threading.Condition()
        self._opened: dict[tuple[Kind, Io], Opened] = {}
        self._shared: list[SharedSession] = []
        self._closed = False
        self._freeing = False
        self._freed = False
        self._running = 0
        self._mine = threading.local()

    @property
    def opened(self) -> list[Opened]:
        """In the order in which they were opened; still there after closing, as facts."""
        with self._changed:
            return list(self._opened.values())

    @property
    def shared(self) -> list[SharedSession]:
        """Sessions of the networks that make pictures, which share their batches."""
        with self._changed:
            return list(self._shared)

    def find(self, kind: Kind, io: Io) -> Opened | None:
        with self._changed:
            return self._opened.get((kind, io))

    def open(self, path: Path, kind: Kind, io: Io) -> Session:
        """Open the artifact at `path` for pictures of type `io`.

        Raises MissingModelError if the artifact takes pictures of another type, SessionError
        after close(), and what `choose` raises.
        """
        self._check_open()
        opened = self._choose(path, options=self._session_options(kind))
        session = opened.session
        if session.info.io != io:
            session.close()
            noun = "faces" if kind == "face" else "pictures"
            raise MissingModelError(
                f"an artifact for {io} {noun} is needed, {session.info.model}'s takes "
                f"{session.info.io}: make one with `restora export --io {io}`"
            )
        shared = None
        if kind in ("upsampler", "face"):
            batch = self._options.tiling_for(session).batch
            shared = SharedSession(
                session, batch=batch if kind == "upsampler" else self._face_batch
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
            self._check_open()
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

        finish  calls that run may end; else they raise SessionError at their next batch

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
        if kind in ("detector", "parser"):
            # small networks: no plans are built of them, and they may stay on the CPU
            return replace(options, backend=_SMALL[options.backend], precision="auto", gpu=None)
        return options

    def _check_open(self) -> None:
        if self._closed:
            raise _closed_error()


def _closed_error() -> SessionError:
    return SessionError("this Restorer is closed: make a new one")
