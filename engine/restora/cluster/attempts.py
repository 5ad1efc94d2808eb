"""What workers began and ended, one file for each process, so that a row is not lost with its
worker."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class AttemptLog:
    """Lines of this process, on disk before the next step.

    folder  shared by all workers and the driver
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._stream = (folder / f"{uuid.uuid4().hex}.jsonl").open("ab")

    def begin(self, source: str) -> None:
        self._write({"event": "begin", "input": source})

    def end(self, row: Row) -> None:
        self._write({"event": "end", **row})

    def close(self) -> None:
        self._stream.close()

    def _write(self, row: Row) -> None:
        self._stream.write(json.dumps(row).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())


def read_attempts(folder: Path) -> tuple[dict[str, Row], dict[str, int]]:
    """The last row of each input that was ended, and how often each was begun and not ended."""
    rows: dict[str, Row] = {}
    kills: dict[str, int] = {}
    for path in sorted(folder.glob("*.jsonl")):
        begun: str | None = None
        for line in _iter_lines(path):
            if line["event"] == "begin":
                if begun is not None:
                    kills[begun] = kills.get(begun, 0) + 1
                begun = line["input"]
            else:
                rows[line["input"]] = {k: v for k, v in line.items() if k != "event"}
                begun = None
        if begun is not None:
            kills[begun] = kills.get(begun, 0) + 1
    return rows, kills


def _iter_lines(path: Path) -> Iterator[Row]:
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(ValueError):  # torn by a kill
            yield json.loads(line)
