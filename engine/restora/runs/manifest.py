"""The manifest of a run: what was begun and what became of it, a JSON line each, on disk before
the next step."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from restora.errors import DiskFullError, OptionError, OutputError

Stamp = tuple[int, int]
_NO_SPACE = (28, 122)  # ENOSPC, EDQUOT


@dataclass(frozen=True, slots=True)
class Past:
    """What the manifest knows of one input, under the recipe and stamp of its last row.

    recipe    that it was worked on with
    stamp     size and modification time of the input
    status    "restored", "failed", or None: it was begun and not ended
    attempts  how often it was begun
    kills     how often the process ended without a word while this alone was worked on
    suspect   whether it ended so while this and others were
    """

    recipe: str
    stamp: Stamp
    status: str | None = None
    attempts: int = 0
    kills: int = 0
    suspect: bool = False
    output: str | None = None
    sha256: str | None = None
    error_type: str | None = None
    reason: str | None = None
    exit_code: int = 0


class Manifest:
    """Append-only rows of one output folder; one process at a time.

    path  of the JSON lines; a lock file lies beside it

    Raises OptionError if another process has it, OutputError if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.Lock()
        self._pasts: dict[str, Past] = {}
        self._open: set[str] = set()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(f"{path}.lock", timeout=0)
            self._lock.acquire()
            self._stream = path.open("ab")
        except Timeout as error:
            raise OptionError(f"another run is working on {path}") from error
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from error
        for line in path.read_bytes().splitlines():
            # the last line of a killed run may be torn
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._take(json.loads(line))
        if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            self._append(b"\n")
        if self._open:
            # what is begun from here on is not beside what the killed process was at
            self._write({"event": "killed"})

    def past(self, name: str) -> Past | None:
        """Of the input called `name`; None if it was never begun."""
        return self._pasts.get(name)

    def is_open(self, name: str) -> bool:
        """Whether it was begun by this process and not ended yet."""
        return name in self._open

    def begin(self, name: str, *, recipe: str, stamp: Stamp) -> None:
        self._write({"event": "begin", "input": name, "recipe": recipe, "stamp": list(stamp)})

    def end(self, name: str, status: str, **facts: Any) -> None:
        """status  "restored", "failed", or "interrupted": through no fault of the input"""
        self._write({"event": "end", "input": name, "status": status, **facts})

    def close(self) -> None:
        """What was begun and not ended was interrupted."""
        for name in sorted(self._open):
            with contextlib.suppress(OutputError):
                self.end(name, "interrupted")
        self._stream.close()
        self._lock.release()

    def _write(self, row: dict[str, Any]) -> None:
        with self._writing:
            self._append(json.dumps(row, sort_keys=True).encode() + b"\n")
            self._take(row)

    def _append(self, data: bytes) -> None:
        try:
            self._stream.write(data)
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            kind = DiskFullError if error.errno in _NO_SPACE else OutputError
            raise kind(f"{self.path} cannot be written: {error.strerror}") from error

    def _take(self, row: dict[str, Any]) -> None:
        if row["event"] == "killed":
            self._count_kills()
            return
        name = row["input"]
        past = self._pasts.get(name)
        if row["event"] == "begin":
            recipe, stamp = row["recipe"], (int(row["stamp"][0]), int(row["stamp"][1]))
            if past is None or (past.recipe, past.stamp) != (recipe, stamp):
                # the result of another recipe is still what lies there
                output = None if past is None else past.output
                digest = None if past is None else past.sha256
                past = Past(recipe, stamp, output=output, sha256=digest)
            elif name in self._open:
                past = self._blame(name)
            self._pasts[name] = replace(past, status=None, attempts=past.attempts + 1)
            self._open.add(name)
            return
        if past is None:
            raise KeyError(name)
        self._open.discard(name)
        if row["status"] == "interrupted":
            return
        done = row["status"] == "restored"
        self._pasts[name] = replace(
            past,
            status=row["status"],
            kills=0 if done else past.kills,
            suspect=past.suspect and not done,
            output=row.get("output", past.output),
            sha256=row.get("sha256", past.sha256),
            error_type=row.get("error_type"),
            reason=row.get("reason"),
            exit_code=int(row.get("exit_code", 0)),
        )

    def _count_kills(self) -> None:
        """What the last process had begun and not ended when it was killed."""
        for name in self._open:
            self._pasts[name] = self._blame(name)
        self._open.clear()

    def _blame(self, name: str) -> Past:
        past = self._pasts[name]
        alone = len(self._open) == 1
        return replace(past, kills=past.kills + alone, suspect=True)


def stamp_of(path: Path) -> Stamp:
    """Tells whether an input is still the one that was worked on. (-1, 0) where nothing can be
    seen of it: a link that leads nowhere, a folder that is gone."""
    try:
        status = path.stat()
    except OSError:
        return -1, 0
    return status.st_size, status.st_mtime_ns
