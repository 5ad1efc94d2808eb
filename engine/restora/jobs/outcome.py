"""How one file ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Status = Literal["restored", "skipped", "failed", "planned"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one file ended. Sizes in pixels, (width, height).

    error_type: name of the error class, if the file failed
    seconds: from the first byte read to the last one written, without time in queues
    sha256: digest of the result's file
    source_sha256: digest of the input's file, where a journal is kept
    damage, color: what was repaired, see DamageOutcome and ColorCorrection
    device: of a run over several devices, the one that restored it
    """

    input: str
    output: str
    status: Status
    reason: str | None = None
    error_type: str | None = None
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    model: str | None = None
    seconds: float | None = None
    faces: tuple[dict[str, Any], ...] | None = None
    face_error: str | None = None
    sha256: str | None = None
    source_sha256: str | None = None
    device: str | None = None
    damage: dict[str, Any] | None = None
    color: dict[str, Any] | None = None

    @property
    def has_failed_faces(self) -> bool:
        failed_ones = any(face["status"] == "failed" for face in self.faces or ())
        return self.face_error is not None or failed_ones

    @property
    def complete(self) -> bool:
        """Whether the photo is done, none of its faces failed, and damage was not too much."""
        refused = self.damage is not None and self.damage["status"] == "refused"
        return self.status != "failed" and not self.has_failed_faces and not refused

    def as_row(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


def failed(source: Path, target: Path, error: Exception) -> Outcome:
    words = str(error) or type(error).__name__
    return Outcome(str(source), str(target), "failed", words, type(error).__name__)
