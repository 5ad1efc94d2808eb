"""Facts about rows, which travel between workers and the driver: nothing of an outcome is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from restora.cluster.rows import COLUMNS, outcome_of, row_of
from restora.jobs.outcome import Outcome

FACES: tuple[dict[str, Any], ...] = (
    {"status": "restored", "box": [1.5, 2.0, 3.0, 4.0]},
    {"status": "failed", "reason": "no room"},
)


@pytest.mark.parametrize(
    ("faces", "face_error", "complete"),
    [(None, None, True), ((), None, True), (FACES, None, False), (None, "no memory", False)],
)
def test_an_outcome_is_the_same_after_it_travelled_as_a_row(
    faces: tuple[dict[str, Any], ...] | None, face_error: str | None, complete: bool
) -> None:
    outcome = Outcome(
        "a.png",
        "b.png",
        "restored",
        output_size=(4, 3),
        model="m",
        seconds=1.5,
        faces=faces,
        face_error=face_error,
        damage={"status": "repaired", "share": 0.25, "pixels": 3, "regions": 1, "faces_left": 0},
        color={"changed": True, "strength": 0.5},
        sha256="00",
    )
    row = row_of("a.png", "b.png", outcome)
    assert tuple(row) == COLUMNS
    assert row["faces"] == (1 if faces else 0)
    again = outcome_of(Path("a.png"), Path("b.png"), row, "m")
    assert again == outcome
    assert again.complete == complete


def test_a_failure_keeps_its_type_and_reason() -> None:
    outcome = Outcome("a.png", "b.png", "failed", "it is damaged", "TruncatedImageError")
    row = row_of("a.png", "b.png", outcome)
    assert outcome_of(Path("a.png"), Path("b.png"), row, "m") == outcome
