"""What the rows of a journal say about each input."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from restora.jobs.blame import CrashBlame
from restora.jobs.disk import Stamp
from restora.jobs.journal_rows import Row, iter_lines, read_row

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """A result in the output folder.

    output: its path when it was written
    sha256: of its bytes; stamp: size and modification time after it was written
    source: absolute path of the input that it was made from; None: not known
    source_sha256: of that input's bytes
    extras: sha256 of each file that was written beside it, by path from the result's folder
    asked: what was requested beside it: "compare", "faces", "mask"
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
    """What a journal knows of one input, under the recipe and stamp of its last row.

    recipe: of its last attempt
    stamp: size and modification time of the input; source: its absolute path; changed_ns: change
        time by the system's record, which no program can set
    found: stamp of what lay in the result's place when the attempt began; known: whether that was
        recorded; open: whether a result may have been written since
    status: "restored", "failed", or None: begun and not ended
    attempts: how often it was begun
    crashes: process crashes while this was the only open input
    crash_suspect: whether the process crashed while this input was open, alone or not
    result: what lies in the result's place, even if another recipe made it
    """

    recipe: str
    stamp: Stamp
    status: str | None = None
    attempts: int = 0
    crashes: int = 0
    crash_suspect: bool = False
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
class History:
    """The state after all rows so far.

    records: by input; the crashes are in `blame`: see record
    open: inputs that were begun and not ended
    """

    records: dict[str, InputRecord] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    blame: CrashBlame = field(default_factory=CrashBlame)

    def record(self, name: str) -> InputRecord | None:
        found = self.records.get(name)
        if found is None:
            return None
        crashes = self.blame.crashes.get(name, 0)
        return replace(found, crashes=crashes, crash_suspect=name in self.blame.suspects)

    def take(self, row: Row) -> bool:
        """Apply the next row. False if it contradicts the ones before it, and is ignored."""
        if row["event"] == "killed":
            named = set(row.get("inputs", self.open))
            self.crash(self.open & named, beside=len(named - self.open))
            return True
        name = row["input"]
        if row["event"] == "begin":
            self._begin(name, row)
            return True
        if name not in self.records:
            return False
        self.open.discard(name)
        if row["status"] != "interrupted":
            self._end(name, row)
        elif row.get("reason") is not None:  # it failed, so that nothing was written
            self.records[name] = replace(self.records[name], open=False)
        return True

    def take_all(self, stream: BinaryIO, path: Path, *, warn: bool = True) -> bool:
        """Apply every row of a file. True if the last one has no end: its process was killed."""
        ignored = 0
        torn = False
        for line in iter_lines(stream):
            torn = not line.endswith(b"\n")
            row = read_row(line)
            whole = row is not None and self.take(row)
            ignored += not whole and not torn and bool(line.strip())
        if ignored and warn:
            logger.warning("%s: %d rows are damaged and ignored", path, ignored)
        return torn

    def crash(self, running: Collection[str] | None = None, *, beside: int = 0) -> None:
        """Record the death of a process. running: inputs that it had open; None: all open ones.
        beside: see CrashBlame"""
        inputs = set(self.open if running is None else running)
        self.blame.blame(inputs, beside=beside)
        self.open -= inputs

    def _begin(self, name: str, row: Row) -> None:
        if name in self.open:  # the row that reported the crash is lost
            self.crash()
        past = self.records.get(name)
        source = row.get("source")
        began = InputRecord(row["recipe"], _stamp(row["stamp"]), source=source)
        if past is None or (past.recipe, past.stamp) != (began.recipe, began.stamp):
            # the result of another recipe is still what lies there
            past = replace(began, result=None if past is None else past.result)
            self.blame.clear(name)
        self.records[name] = replace(
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
        past = self.records[name]
        done = row["status"] == "restored"
        result = past.result
        if done:
            self.blame.clear(name)
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
        self.records[name] = replace(
            past,
            status=row["status"],
            open=False,
            result=result,
            error_type=row.get("error_type"),
            reason=row.get("reason"),
            exit_code=row.get("exit_code", 0),
        )


def _stamp(value: list[int]) -> Stamp:
    return value[0], value[1]
