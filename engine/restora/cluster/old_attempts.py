"""Logs that workers of version 0.1 kept, with rows of their own. To be removed with version 0.3."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from restora.cluster.rows import Row, is_row
from restora.jobs.disk import Stamp


@dataclass(frozen=True, slots=True)
class OldAttempt:
    """A photo that was ended. recipe: of the whole run; stamp: of the input when it began"""

    row: Row
    recipe: str
    stamp: Stamp


def iter_old_attempts(folder: Path) -> Iterator[OldAttempt]:
    """Yield what is finished. folder: it holds a folder for each recipe, with logs in it."""
    for path in sorted(folder.glob("*/*.jsonl")):
        stamps: dict[str, Stamp] = {}
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                row = json.loads(line)
                if not isinstance(row, dict) or not isinstance(row.get("input"), str):
                    continue
                stamp = row.get("stamp")
                if isinstance(stamp, list) and [type(value) for value in stamp] == [int, int]:
                    stamps[row["input"]] = stamp[0], stamp[1]
                elif row.pop("event", None) == "end" and is_row(row) and row["input"] in stamps:
                    yield OldAttempt(row, path.parent.name, stamps[row["input"]])
