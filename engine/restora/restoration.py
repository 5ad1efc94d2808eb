"""The result of restoring one photo."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from restora.color import ColorCorrection
from restora.damage import DamageOutcome
from restora.errors import DeviceLostError, FaceError, NonFiniteOutputError, SessionError
from restora.faces.pipeline import FaceOutcome, FaceStage
from restora.image import Photo
from restora.tiling import Progress

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
    damage: what was repaired; None without DamageOptions
    color: how the color was corrected; None unless that was asked for
    """

    photo: Photo
    model: str
    scale: float
    elapsed_s: float
    seconds: dict[str, float] = field(default_factory=dict)
    faces: tuple[FaceOutcome, ...] = ()
    face_error: str | None = None
    face_model: str | None = None
    damage: DamageOutcome | None = None
    color: ColorCorrection | None = None

    @property
    def complete(self) -> bool:
        """Whether all faces that should be restored were, and damage was not too much to repair."""
        refused = self.damage is not None and self.damage.status == "refused"
        faces_done = all(f.status != "failed" for f in self.faces)
        return self.face_error is None and faces_done and not refused


def checked_progress(
    progress: Progress | None, check: Callable[[], None] | None
) -> Progress | None:
    """A progress that calls `check` first."""
    if check is None:
        return progress

    def report(done: int, total: int) -> None:
        check()
        if progress is not None:
            progress(done, total)

    return report


def add_faces(
    restoration: Restoration,
    stage: FaceStage,
    photo: Photo,
    *,
    check: Callable[[], None] | None = None,
) -> Restoration:
    """Paste the restored faces of `photo` into its restoration.

    check: called before each batch of faces; what it raises ends this

    If the detector or the network fails, the result keeps the photo as it is and records why in
    face_error. Raises DeviceLostError.
    """
    try:
        result = stage.restore_faces(
            photo, restoration.photo, upscale=restoration.scale, check=check
        )
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


def restore_aligned(stage: FaceStage, photo: Photo) -> Restoration:
    """Restore a photo that is one aligned face. Raises the errors of the network."""
    started = time.perf_counter()
    outcome = stage.restore_aligned(photo)
    assert outcome.restored is not None
    result = Photo(outcome.restored, metadata=photo.metadata, format=photo.format)
    elapsed_s = time.perf_counter() - started
    return Restoration(
        result,
        stage.model,
        result.width / photo.width,
        elapsed_s,
        faces=(outcome,),
        face_model=stage.model,
    )
