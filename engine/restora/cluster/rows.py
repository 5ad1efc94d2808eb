"""Rows of results: what travels between workers and the driver, in types that Arrow holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restora.jobs.outcome import Outcome

Row = dict[str, Any]
Columns = dict[str, list[Any]]
# faces: restored ones; face_rows: all of them, as JSON; face_error: why none was restored; damage,
# color: what was repaired, as JSON
COLUMNS = (
    "input", "output", "status", "error_type", "reason", "width", "height", "faces", "face_rows",
    "face_error", "damage", "color", "sha256", "ms",
)  # fmt: skip


def row_of(source: str, target: str, outcome: Outcome) -> Row:
    """The row of a photo that was restored or failed."""
    if outcome.status == "failed":
        return failed_row(source, target, outcome.error_type, outcome.reason)
    assert outcome.output_size is not None
    width, height = outcome.output_size
    faces = outcome.faces
    return {
        **dict.fromkeys(COLUMNS),
        "input": source,
        "output": target,
        "status": outcome.status,
        "width": width,
        "height": height,
        "faces": sum(face["status"] == "restored" for face in faces or ()),
        "face_rows": None if faces is None else json.dumps(faces),
        "face_error": outcome.face_error,
        "damage": _as_text(outcome.damage),
        "color": _as_text(outcome.color),
        "sha256": outcome.sha256,
        "ms": round(1000 * (outcome.seconds or 0)),
    }


def failed_row(source: str, target: str, error_type: str | None, reason: str | None) -> Row:
    failure = {"status": "failed", "error_type": error_type, "reason": reason}
    return {**dict.fromkeys(COLUMNS), "input": source, "output": target, **failure}


def is_row(row: object) -> bool:
    """Whether a value read from a file is a row of results."""
    if not isinstance(row, dict) or row.get("status") not in ("restored", "failed"):
        return False
    numbers = ("width", "height", "ms") if row["status"] == "restored" else ()
    texts = ("error_type", "reason", "sha256", "face_rows", "face_error", "damage", "color")
    return (
        all(isinstance(row.get(name), str) for name in ("input", "output"))
        and all(isinstance(row.get(name), int) for name in numbers)
        and all(isinstance(row.get(name), str | None) for name in texts)
    )


def outcome_of(source: Path, target: Path, row: Mapping[str, Any], model: str | None) -> Outcome:
    """The outcome that a row describes, of an input as the run names it."""
    if row["status"] == "failed":
        return Outcome(str(source), str(target), "failed", row["reason"], row["error_type"])
    faces = row.get("face_rows")
    return Outcome(
        str(source),
        str(target),
        "restored",
        output_size=(row["width"], row["height"]),
        model=model,
        seconds=row["ms"] / 1000,
        faces=None if faces is None else tuple(json.loads(faces)),
        face_error=row.get("face_error"),
        damage=_from_text(row.get("damage")),
        color=_from_text(row.get("color")),
        sha256=row["sha256"],
    )


def _as_text(facts: dict[str, Any] | None) -> str | None:
    return None if facts is None else json.dumps(facts)


def _from_text(text: str | None) -> Any:
    return None if text is None else json.loads(text)
