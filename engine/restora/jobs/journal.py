"""The journal of a run: which inputs were begun and how each ended, one JSON line each, on disk
before the next step."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from restora.errors import DiskFullError, OptionError, OutputError, UnsafePathError
from restora.jobs.disk import NO_SPACE, Stamp, require_own_file, require_own_folder
from restora.jobs.journal_rows import (
    MOST_ROW_BYTES,
    Row,
    is_valid,
    iter_lines,
    read_row,
    row_bytes,
)
from restora.jobs.lock import output_lock
from restora.jobs.records import History, InputRecord, Result

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Journal:
    """Append-only rows of one output folder; one process at a time.

    path: the file of JSON lines
    shared: whether other processes may use it too, so that it must be locked; False for a name that
        is this process's own

    Raises OptionError if another process uses it or it is no journal, UnsafePathError if it is a
    link, DiskFullError or OutputError if it cannot be written.
    """

    def __init__(self, path: Path, *, shared: bool = True) -> None:
        self.path = path
        self._writing = threading.Lock()
        self._history = History()
        with contextlib.ExitStack() as stack:
            require_own_folder(path.parent)
            try:
                if shared:
                    stack.enter_context(output_lock(path))
            except OptionError as error:
                raise OptionError(f"another run is working on {path}") from error
            self._descriptor = _open(path)
            stack.callback(os.close, self._descriptor)
            with os.fdopen(os.dup(self._descriptor), "rb") as stream:
                _require_rows(stream, path)
                torn = self._history.take_all(stream, path)
            if torn:
                self._append(b"\n")
            if self._history.open:
                # what begins from here on was not open when that process crashed
                self._write({"event": "killed"})
            self._held = stack.pop_all()

    def record(self, name: str) -> InputRecord | None:
        """What is known of the input called `name`; None if it was never begun."""
        return self._history.record(name)

    def is_open(self, name: str) -> bool:
        """Whether this process began it and has not ended it yet."""
        return name in self._history.open

    def begin(self, name: str, *, recipe: str, stamp: Stamp, **facts: Any) -> None:
        """Record that an input begins. facts: source, changed_ns and found, as in InputRecord."""
        row = {"event": "begin", "input": name, "recipe": recipe, "stamp": list(stamp)}
        self._write({**row, **facts})

    def end(self, name: str, status: str, **facts: Any) -> None:
        """Record how an input ends. status: "restored", "failed", or "interrupted", which is no
        fault of the input."""
        self._write({"event": "end", "input": name, "status": status, **facts})

    def crashed(self, names: Collection[str]) -> None:
        """Record that a worker process of this one ended without reporting while these inputs were
        open in it. This process goes on."""
        self._write({"event": "killed", "inputs": sorted(names)})

    def add(self, row: Row) -> None:
        """Record a row that another process wrote."""
        self._write(row)

    def close(self) -> None:
        """Record open inputs as interrupted, and release the lock. A second call does nothing."""
        for name in sorted(self._history.open):
            with contextlib.suppress(OutputError):
                self.end(name, "interrupted")
        self._history.open.clear()
        self._held.close()

    def _write(self, row: Row) -> None:
        with self._writing:
            line = row_bytes(row)
            # a row that readers ignore must not count here
            assert is_valid(row), row
            assert len(line) <= MOST_ROW_BYTES, line[:200]
            self._append(line + b"\n")
            self._history.take(row)

    def _append(self, data: bytes) -> None:
        """Append a whole row; a row that cannot be written whole is cut off again."""
        size = 0
        try:
            size = os.fstat(self._descriptor).st_size
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
            os.fsync(self._descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, size)
            kind = DiskFullError if error.errno in NO_SPACE else OutputError
            raise kind(f"{self.path} cannot be written: {error.strerror}") from error


def read_results(path: Path) -> Iterator[tuple[str, Result]]:
    """Yield each input that has a result, by name, with it; nothing if the journal cannot be
    read. The journal is not locked."""
    history = History()
    with contextlib.suppress(OSError, OutputError):
        require_own_file(path)
        with path.open("rb") as stream:
            history.take_all(stream, path, warn=False)
    for name, record in history.records.items():
        if record.result is not None:
            yield name, record.result


def _open(path: Path) -> int:
    require_own_file(path)
    try:
        descriptor = os.open(path, _FLAGS | _SAFELY, 0o666)
    except OSError as error:
        kind = DiskFullError if error.errno in NO_SPACE else OutputError
        raise kind(f"{path} cannot be written: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise UnsafePathError(f"{path} must be a plain file: remove what is there")
    return descriptor


def _require_rows(stream: BinaryIO, path: Path) -> None:
    """Raise OptionError if a file that is not empty holds no row. Rewinds the stream."""
    stream.seek(0)
    beginning = stream.read(1)
    stream.seek(0)
    if beginning not in (b"", b"{") and not any(map(read_row, iter_lines(stream))):
        raise OptionError(f"{path} is no manifest: give another file")
    stream.seek(0)
