"""The result of restoring one photo."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from restora.errors import DeviceLostError, FaceError, NonFiniteOutputError, SessionError
from restora.faces.pipeline import FaceOutcome, FaceStage
from restora.image import Photo

logger = logging.getLogger(__name__)


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


def add_faces(restoration: Restoration, stage: FaceStage, photo: Photo) -> Restoration:
    """Paste the restored faces of `photo` into its restoration.

    If the detector or the network fails, the result keeps the photo as it is and records why in
    face_error. Raises DeviceLostError.
    """
    try:
        result = stage.restore_faces(photo, restoration.photo, upscale=restoration.scale)
    except DeviceLostError:
        raise
    except (FaceError, NonFiniteOutputError, SessionError) as error:
        logger.warning("no faces were restored: %s", error)
        return replace(restoration, face_error=str(error), face_model=stage.model)
    return replace(
        restoration,
        faces=result.faces,
        seconds={**restoration.seconds, **result.seconds},
        face_model=stage.model,
    )
