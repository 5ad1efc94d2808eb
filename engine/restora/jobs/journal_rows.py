"""The rows of a journal: what one may hold, checked when it is read.

begin: input, recipe, stamp; source, changed_ns and found, which old rows lack
end: input, status; for "restored" what was written, for "failed" why
killed: a process ended without reporting; inputs: those open in it, missing: all open ones
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

Row = dict[str, Any]
Check = Callable[[Any], bool]
MOST_ROW_BYTES = 1 << 20


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_stamp(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value))


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


_NEEDED: Mapping[str, Mapping[str, Check]] = {
    "begin": {"input": _is_text, "recipe": _is_text, "stamp": _is_stamp},
    "end": {
        "input": _is_text,
        "status": lambda value: value in ("restored", "failed", "interrupted"),
    },
    "killed": {},
}
_ALLOWED: Mapping[str, Check] = {
    "source": _is_text,
    "changed_ns": _or_none(_is_count),
    "found": _or_none(_is_stamp),
    "output": _or_none(_is_text),
    "sha256": _or_none(_is_text),
    "made": _or_none(_is_stamp),
    "source_sha256": _or_none(_is_text),
    "extras": _is_text_map,
    "asked": _is_text_list,
    "error_type": _or_none(_is_text),
    "reason": _or_none(_is_text),
    "exit_code": _is_count,
    "inputs": _is_text_list,
}


def read_row(line: bytes) -> Row | None:
    """Parse one line; None if it is no valid row. Unknown keys are kept: a later version may have
    written them."""
    if len(line) > MOST_ROW_BYTES:
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and is_valid(row) else None


def is_valid(row: Row) -> bool:
    """Whether readers take a row; they ignore others."""
    if not _is_text(row.get("event")):
        return False
    needed = _NEEDED.get(row["event"])
    if needed is None or not all(
        name in row and check(row[name]) for name, check in needed.items()
    ):
        return False
    return all(_ALLOWED[name](value) for name, value in row.items() if name in _ALLOWED)


def iter_rows(stream: BinaryIO) -> Iterator[Row]:
    """The valid rows of a file. A kill may cut the last one short, and damage others."""
    return (row for row in map(read_row, iter_lines(stream)) if row is not None)


def row_bytes(row: Row) -> bytes:
    """The row as a line, without the line end."""
    return json.dumps(row, sort_keys=True).encode()


def iter_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines with their ends. A line that is longer than a row may be is cut, to a length that
    read_row refuses."""
    while line := stream.readline(MOST_ROW_BYTES + 1):
        rest = line
        while len(rest) > MOST_ROW_BYTES and not rest.endswith(b"\n"):
            rest = stream.readline(MOST_ROW_BYTES + 1)
        yield line if rest is line else line + rest[-1:]
