"""What is done to a photo before it is enlarged: its damage is repaired, then its color."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from restora.color import ColorCorrection, ColorMode, correct_photo
from restora.damage import DamageOutcome, DamageStage
from restora.damage.mask import Box
from restora.damage.networks import cut_color
from restora.errors import FaceError, NonFiniteOutputError
from restora.faces.pipeline import FaceStage
from restora.image import Photo


@dataclass(frozen=True, slots=True)
class RepairedPhoto:
    """damage, color: None if they were not asked for; seconds: of each stage"""

    photo: Photo
    damage: DamageOutcome | None
    color: ColorCorrection | None
    seconds: dict[str, float]


def repair_photo(
    photo: Photo,
    damage: DamageStage | None,
    color: ColorMode,
    faces: FaceStage | None,
    *,
    check: Callable[[], None] | None = None,
) -> RepairedPhoto:
    """Repair damage first: scratches would count as the white of the picture.

    faces: finds the faces that damage must not be repaired in
    check: called between tiles; what it raises ends this
    """
    seconds: dict[str, float] = {}
    outcome = correction = None
    if damage is not None:
        photo, outcome = damage.repair(
            photo, find_faces=None if faces is None else _face_finder(faces), check=check
        )
        seconds |= {f"damage_{name}": value for name, value in outcome.seconds.items()}
    if color != "off":
        started = time.perf_counter()
        photo, correction = correct_photo(photo, color)
        seconds["color"] = time.perf_counter() - started
    return RepairedPhoto(photo, outcome, correction, seconds)


def _face_finder(faces: FaceStage) -> Callable[[Photo], list[Box]]:
    """A detector that fails now fails again when faces are restored, and is reported then."""

    def find(photo: Photo) -> list[Box]:
        pixels = cut_color(photo, np.arange(photo.height), np.arange(photo.width))
        try:
            return [face.box for face in faces.detector.detect(pixels)]
        except (FaceError, NonFiniteOutputError):
            return []

    return find
