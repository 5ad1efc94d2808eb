"""What workers began and ended, one file for each process, so that no row is lost when a worker
dies."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from restora.jobs.files import Stamp, fingerprint, require_own_folder

_BROKEN = "broken.txt"
Row = dict[str, Any]


class AttemptLog:
    """Lines of this process, on disk before the next step.

    folder  shared by all workers and the driver
    """

    def __init__(self, folder: Path) -> None:
        require_own_folder(folder)
        self._stream = (folder / f"{uuid.uuid4().hex}.jsonl").open("ab")

    def begin(self, source: str) -> None:
        self._write({"event": "begin", "input": source, "stamp": fingerprint(Path(source))})

    def end(self, row: Row) -> None:
        self._write({"event": "end", **row})

    def died(self) -> None:
        """The process that was at work died at what is begun and not ended."""
        self._write({"event": "died"})

    def close(self) -> None:
        self._stream.close()

    def _write(self, row: Row) -> None:
        self._stream.write(json.dumps(row).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())


@dataclass(frozen=True, slots=True)
class Attempts:
    """What all logs say.

    rows      the last one of each input that was ended
    stamps    of each input when it was begun last
    kills     how often a process died while it was at an input alone
    suspects  inputs at which, and at others beside, a process died
    """

    rows: dict[str, Row] = field(default_factory=dict)
    stamps: dict[str, Stamp] = field(default_factory=dict)
    kills: dict[str, int] = field(default_factory=dict)
    suspects: set[str] = field(default_factory=set)

    def blame(self, begun: set[str]) -> None:
        """A process died at these."""
        self.suspects.update(begun)
        if len(begun) == 1:
            (source,) = begun
            self.kills[source] = self.kills.get(source, 0) + 1


def write_fatal_error(folder: Path, words: str) -> None:
    """Say what is no photo's fault, so that the driver ends the run with it."""
    (folder / _BROKEN).write_text(words)


def read_fatal_error(folder: Path) -> str | None:
    """What a worker said so, if one did."""
    path = folder / _BROKEN
    return path.read_text() if path.exists() else None


def count_logs(folder: Path) -> int:
    """How many processes have begun to write there."""
    return sum(1 for _ in folder.glob("*.jsonl"))


def read_attempts(folder: Path) -> Attempts:
    """Of a log that does not say so, it is taken that its process died."""
    found = Attempts()
    for path in sorted(folder.glob("*.jsonl")):
        begun: set[str] = set()
        for line in _iter_lines(path):
            if line["event"] == "begin":
                begun.add(line["input"])
                size, changed_ns = line["stamp"]
                found.stamps[line["input"]] = (size, changed_ns)
            elif line["event"] == "died":
                found.blame(begun)
                begun = set()
            elif line["event"] == "end":
                found.rows[line["input"]] = {k: v for k, v in line.items() if k != "event"}
                begun.discard(line["input"])
        found.blame(begun)
    return found


def _iter_lines(path: Path) -> Iterator[Row]:
    """Lines that are whole: one may be torn by a kill, or not ours."""
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and _is_row(row):
                yield row


def _is_row(row: Row) -> bool:
    if row.get("event") == "died":
        return True
    if not isinstance(row.get("input"), str):
        return False
    if row.get("event") == "begin":
        stamp = row.get("stamp")
        return isinstance(stamp, list) and [type(value) for value in stamp] == [int, int]
    if row.get("event") != "end" or row.get("status") not in ("restored", "failed"):
        return False
    numbers = ("width", "height", "ms") if row["status"] == "restored" else ()
    texts = ("output", "error_type", "reason", "sha256")
    return all(isinstance(row.get(name), int) for name in numbers) and all(
        isinstance(row.get(name), str | None) for name in texts
    )
