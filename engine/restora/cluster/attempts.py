"""Logs of what workers begin and end, one file for each process, so that no row is lost when a
worker dies."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from restora.cluster.rows import Row
from restora.jobs.blame import CrashBlame
from restora.jobs.disk import Stamp, fingerprint, require_own_folder

_FATAL = "error.txt"


class AttemptLog:
    """The log of this process; each line is on disk before the next step.

    folder: shared by all workers and the driver
    """

    def __init__(self, folder: Path) -> None:
        require_own_folder(folder)
        self._stream = (folder / f"{uuid.uuid4().hex}.jsonl").open("ab")

    def begin(self, source: str) -> None:
        self._write({"event": "begin", "input": source, "stamp": fingerprint(Path(source))})

    def end(self, row: Row) -> None:
        self._write({"event": "end", **row})

    def crashed(self) -> None:
        """Record that the process died; inputs that are begun and not ended were open."""
        self._write({"event": "crashed"})

    def close(self) -> None:
        self._stream.close()

    def _write(self, row: Row) -> None:
        self._stream.write(json.dumps(row).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())


@dataclass(frozen=True, slots=True)
class Attempts:
    """What all logs say.

    rows: the last one of each input that was ended
    stamps: of each input when it was begun last
    blame: inputs that crashed processes
    """

    rows: dict[str, Row] = field(default_factory=dict)
    stamps: dict[str, Stamp] = field(default_factory=dict)
    blame: CrashBlame = field(default_factory=CrashBlame)


def write_fatal_error(folder: Path, words: str) -> None:
    """Record an error that is no photo's fault: the driver ends the run with it."""
    (folder / _FATAL).write_text(words)


def read_fatal_error(folder: Path) -> str | None:
    """The error that a worker recorded, if one did."""
    path = folder / _FATAL
    return path.read_text() if path.exists() else None


def count_logs(folder: Path) -> int:
    """Number of processes that have begun to write there."""
    return sum(1 for _ in folder.glob("*.jsonl"))


def read_attempts(folder: Path) -> Attempts:
    """Read all logs. A log with open inputs at its end is that of a process that died."""
    found = Attempts()
    for path in sorted(folder.glob("*.jsonl")):
        begun: set[str] = set()
        for line in _iter_lines(path):
            if line["event"] == "begin":
                begun.add(line["input"])
                size, changed_ns = line["stamp"]
                found.stamps[line["input"]] = (size, changed_ns)
            elif line["event"] == "crashed":
                found.blame.blame(begun)
                begun = set()
            elif line["event"] == "end":
                found.rows[line["input"]] = {k: v for k, v in line.items() if k != "event"}
                begun.discard(line["input"])
        found.blame.blame(begun)
    return found


def _iter_lines(path: Path) -> Iterator[Row]:
    """Complete lines only: a kill may cut one short, and a file may be another program's."""
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and _is_row(row):
                yield row


def _is_row(row: Row) -> bool:
    if row.get("event") == "crashed":
        return True
    if not isinstance(row.get("input"), str):
        return False
    if row.get("event") == "begin":
        stamp = row.get("stamp")
        return isinstance(stamp, list) and [type(value) for value in stamp] == [int, int]
    if row.get("event") != "end" or row.get("status") not in ("restored", "failed"):
        return False
    numbers = ("width", "height", "ms") if row["status"] == "restored" else ()
    texts = ("output", "error_type", "reason", "sha256", "face_rows", "face_error")
    return all(isinstance(row.get(name), int) for name in numbers) and all(
        isinstance(row.get(name), str | None) for name in texts
    )
