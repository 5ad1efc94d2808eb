"""The result of restoring one photo."""

from __future__ import annotations

from dataclasses import dataclass, field

from restora.faces.pipeline import FaceOutcome
from restora.image import Photo


@dataclass(frozen=True, slots=True)
class Restoration:
    """One restored photo.

    model: the network that enlarged it; "none" for interpolation
    face_model: the network that restored faces; None without FaceOptions
    scale: output side / input side
    elapsed_s: of the whole call; seconds: of each stage
    faces: the outcome of each face that was found, best score first
    face_error: the error of the detector, if it failed
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
