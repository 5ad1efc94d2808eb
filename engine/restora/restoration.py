"""What comes of one photo."""

from __future__ import annotations

from dataclasses import dataclass, field

from restora.faces.pipeline import FaceOutcome
from restora.image import Photo


@dataclass(frozen=True, slots=True)
class Restoration:
    """One finished photo.

    model: that enlarged it; "none" for interpolation
    face_model: that restored faces; None if faces were not asked for
    scale: output side / input side
    elapsed_s: of everything; seconds: of each stage
    faces: what became of each face that was found, best score first
    face_error: why no face could be looked for, if the detector failed
    """

    photo: Photo
    model: str
    scale: float
    elapsed_s: float
    seconds: dict[str, float] = field(default_factory=dict)
    faces: tuple[FaceOutcome, ...] = ()
    face_error: str | None = None
    face_model: str | None = None

    @property
    def complete(self) -> bool:
        """Whether all faces that should be restored were."""
        return self.face_error is None and all(f.status != "failed" for f in self.faces)
