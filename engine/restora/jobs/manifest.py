"""The manifest of a run: what was begun and how it ended, a JSON line each, on disk before the next
step."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from restora.errors import DiskFullError, OptionError, OutputError, UnsafePathError
from restora.jobs.lock import output_lock, require_own_file
from restora.jobs.manifest_rows import Row, iter_lines, read_row, row_bytes

logger = logging.getLogger(__name__)

FOLDER = ".restora"
Stamp = tuple[int, int]
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class Result:
    """A result that lies in the output folder.

    output         its path when it was written
    sha256         of its bytes; stamp: size and modification time after it was written
    source         absolute path of the input that it was made from; None: not known
    source_sha256  of that input's bytes
    extras         sha256 of what was written beside it, by path from the result's folder
    asked          what was asked for beside it: "compare", "faces"
    """

    output: str
    sha256: str
    stamp: Stamp | None = None
    source: str | None = None
    source_sha256: str | None = None
    extras: tuple[tuple[str, str], ...] = ()
    asked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class InputRecord:
    """What the manifest knows of one input, under the recipe and stamp of its last row.

    recipe    that it was worked on with
    stamp     size and modification time of the input; source: its absolute path; changed_ns: when
              the system says that it was changed, which no program can set
    found     stamp of what lay in the result's place when it was begun; known: whether that was
              written down; open: whether a result may have been written since
    status    "restored", "failed", or None: it was begun and not ended
    attempts  how often it was begun
    kills     process crashes while this was the only open input
    suspect   whether the process crashed while this and others were open
    result    that lies there, even if another recipe made it
    """

    recipe: str
    stamp: Stamp
    status: str | None = None
    attempts: int = 0
    kills: int = 0
    suspect: bool = False
    source: str | None = None
    changed_ns: int | None = None
    found: Stamp | None = None
    known: bool = False
    open: bool = False
    result: Result | None = None
    error_type: str | None = None
    reason: str | None = None
    exit_code: int = 0


@dataclass(slots=True)
class _History:
    """What rows say, one after another. open: inputs that were begun and not ended."""

    pasts: dict[str, InputRecord] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)

    def take(self, row: Row) -> bool:
        """False if the row contradicts the ones before it, and is ignored."""
        if row["event"] == "killed":
            for name in self.open:
                self.pasts[name] = self._blame(name)
            self.open.clear()
            return True
        name = row["input"]
        if row["event"] == "begin":
            self._begin(name, row)
            return True
        if name not in self.pasts:
            return False
        self.open.discard(name)
        if row["status"] != "interrupted":
            self._end(name, row)
        elif row.get("reason") is not None:  # it failed, so that nothing was written
            self.pasts[name] = replace(self.pasts[name], open=False)
        return True

    def _begin(self, name: str, row: Row) -> None:
        past = self.pasts.get(name)
        source = row.get("source")
        began = InputRecord(row["recipe"], _stamp(row["stamp"]), source=source)
        if past is None or (past.recipe, past.stamp) != (began.recipe, began.stamp):
            # the result of another recipe is still what lies there
            past = replace(began, result=None if past is None else past.result)
        elif name in self.open:
            past = self._blame(name)
        self.pasts[name] = replace(
            past,
            status=None,
            attempts=past.attempts + 1,
            source=source,
            changed_ns=row.get("changed_ns"),
            found=None if row.get("found") is None else _stamp(row["found"]),
            known="found" in row,
            open=True,
        )
        self.open.add(name)

    def _end(self, name: str, row: Row) -> None:
        past = self.pasts[name]
        done = row["status"] == "restored"
        result = past.result
        if done and row.get("output") is not None and row.get("sha256") is not None:
            result = Result(
                row["output"],
                row["sha256"],
                None if row.get("made") is None else _stamp(row["made"]),
                past.source,
                row.get("source_sha256"),
                tuple(sorted(row.get("extras", {}).items())),
                frozenset(row.get("asked", ())),
            )
        self.pasts[name] = replace(
            past,
            status=row["status"],
            kills=0 if done else past.kills,
            suspect=past.suspect and not done,
            open=False,
            result=result,
            error_type=row.get("error_type"),
            reason=row.get("reason"),
            exit_code=row.get("exit_code", 0),
        )

    def _blame(self, name: str) -> InputRecord:
        past = self.pasts[name]
        alone = len(self.open) == 1
        return replace(past, kills=past.kills + alone, suspect=True)


class Manifest:
    """Append-only rows of one output folder; one process at a time.

    path  of the JSON lines

    Raises OptionError if another process has it or it holds something else, UnsafePathError if a
    link lies in its place, DiskFullError or OutputError if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.Lock()
        self._history = _History()
        with contextlib.ExitStack() as stack:
            require_own_folder(path.parent)
            try:
                stack.enter_context(output_lock(path))
            except OptionError as error:
                raise OptionError(f"another run is working on {path}") from error
            self._descriptor = _open(path)
            stack.callback(os.close, self._descriptor)
            with os.fdopen(os.dup(self._descriptor), "rb") as stream:
                _require_rows(stream, path)
                torn = _take_all(self._history, stream, path)
            if torn:
                self._append(b"\n")
            if self._history.open:
                # what is begun from here on is not beside what the killed process was at
                self._write({"event": "killed"})
            self._held = stack.pop_all()

    def past(self, name: str) -> InputRecord | None:
        """Of the input called `name`; None if it was never begun."""
        return self._history.pasts.get(name)

    def is_open(self, name: str) -> bool:
        """Whether it was begun by this process and not ended yet."""
        return name in self._history.open

    def begin(self, name: str, *, recipe: str, stamp: Stamp, **facts: Any) -> None:
        """facts  source, changed_ns and found, as Past has them"""
        row = {"event": "begin", "input": name, "recipe": recipe, "stamp": list(stamp)}
        self._write({**row, **facts})

    def end(self, name: str, status: str, **facts: Any) -> None:
        """status  "restored", "failed", or "interrupted": through no fault of the input"""
        self._write({"event": "end", "input": name, "status": status, **facts})

    def close(self) -> None:
        """What was begun and not ended was interrupted. A second call does nothing."""
        for name in sorted(self._history.open):
            with contextlib.suppress(OutputError):
                self.end(name, "interrupted")
        self._history.open.clear()
        self._held.close()

    def _write(self, row: Row) -> None:
        with self._writing:
            # as it will be read: a row that reading would ignore must not count here either
            line = row_bytes(row)
            checked = read_row(line)
            assert checked is not None, row
            self._append(line + b"\n")
            self._history.take(checked)

    def _append(self, data: bytes) -> None:
        """All of it, or nothing that counts: half a row is cut off again."""
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
            kind = DiskFullError if error.errno in _NO_SPACE else OutputError
            raise kind(f"{self.path} cannot be written: {error.strerror}") from error


def read_results(path: Path) -> Iterator[tuple[str, Result]]:
    """The results that a manifest knows, with the names of their inputs; none if it cannot be
    read. The manifest is not locked."""
    history = _History()
    with contextlib.suppress(OSError, OutputError):
        require_own_file(path)
        with path.open("rb") as stream:
            _take_all(history, stream, path, warn=False)
    for name, past in history.pasts.items():
        if past.result is not None:
            yield name, past.result


def require_own_folder(folder: Path) -> None:
    """Make a folder. One of ours, `.restora` or in it, must not be a link.

    Raises UnsafePathError, or OutputError if it cannot be made.
    """
    try:
        if FOLDER in folder.parts:
            ours = folder.parts.index(FOLDER) + 1
            for depth in range(ours, len(folder.parts) + 1):
                part = Path(*folder.parts[:depth])
                if part.is_symlink():
                    raise UnsafePathError(f"{part} must be a folder, it is a link: remove it")
        folder.mkdir(parents=True, exist_ok=True)
    except OutputError:
        raise
    except ValueError as error:  # a NUL byte
        raise OutputError(f"{folder} cannot be made: {error}") from error
    except OSError as error:
        kind = DiskFullError if error.errno in _NO_SPACE else OutputError
        raise kind(f"{folder} cannot be made: {error.strerror or error}") from error


def fingerprint(path: Path) -> Stamp:
    """Size and modification time, which tell whether a file is still the same. (-1, 0) where
    nothing can be seen of it: a link that leads nowhere, a folder that is gone."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return -1, 0
    return status.st_size, status.st_mtime_ns


def change_time_of(path: Path) -> int | None:
    """When a file was changed or put there, in nanoseconds, as the system says; None if nothing can
    be seen of it."""
    try:
        return path.stat().st_ctime_ns
    except (OSError, ValueError):
        return None


def _open(path: Path) -> int:
    require_own_file(path)
    try:
        descriptor = os.open(path, _FLAGS | _SAFELY, 0o666)
    except OSError as error:
        kind = DiskFullError if error.errno in _NO_SPACE else OutputError
        raise kind(f"{path} cannot be written: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise UnsafePathError(f"{path} must be a plain file: remove what is there")
    return descriptor


def _require_rows(stream: BinaryIO, path: Path) -> None:
    """Leave the stream at its beginning. Raise OptionError if it holds something else than rows."""
    stream.seek(0)
    beginning = stream.read(1)
    stream.seek(0)
    if beginning not in (b"", b"{") and not any(map(read_row, iter_lines(stream))):
        raise OptionError(f"{path} is no manifest: give another file")
    stream.seek(0)


def _take_all(history: _History, stream: BinaryIO, path: Path, *, warn: bool = True) -> bool:
    """Take every row. True if the last one has no end: its process was killed."""
    ignored = 0
    torn = False
    for line in iter_lines(stream):
        torn = not line.endswith(b"\n")
        row = read_row(line)
        whole = row is not None and history.take(row)
        ignored += not whole and not torn and bool(line.strip())
    if ignored and warn:
        logger.warning("%s: %d rows are damaged and ignored", path, ignored)
    return torn


def _stamp(value: list[int]) -> Stamp:
    return value[0], value[1]
