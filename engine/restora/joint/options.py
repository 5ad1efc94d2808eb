"""How the faces of a photo are restored."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from restora.errors import OptionError
from restora.faces.choose import EYE_DISTANCE_PX
from restora.faces.face import DETECTOR_LONG_SIDE

Detector = Literal["auto", "retinaface", "yunet", "centerface"]


@dataclass(frozen=True, slots=True)
class FaceOptions:
    """Settings of the face stage.

    model               a face model's name, or the path of its artefact; None: the best one here
    detector            "auto": RetinaFace if it is here, else YuNet, else CenterFace
    strength            0..1: 0 pastes the face as it came, 1 the network's
    parse               paste what the face parser calls face, not the whole crop
    eye_dist_threshold  faces whose eyes are closer, in photo pixels, are left alone
    only_centre_face    restore only the face nearest to the photo's centre
    batch               most faces in one call of the network
    long_side           larger photos are shrunk to this for the detector; None: never
    """

    model: str | Path | None = None
    detector: Detector = "auto"
    strength: float = 1.0
    parse: bool = False
    eye_dist_threshold: float = EYE_DISTANCE_PX
    only_centre_face: bool = False
    batch: int = 8
    long_side: int | None = DETECTOR_LONG_SIDE

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise OptionError(f"the face strength must be in 0..1, got {self.strength}")
        if self.batch < 1:
            raise OptionError(f"the batch of faces must be at least 1, got {self.batch}")
        if self.eye_dist_threshold < 0:
            raise OptionError(
                f"the eye distance must not be negative, got {self.eye_dist_threshold}"
            )
        if self.long_side is not None and self.long_side < 32:
            raise OptionError(f"the detector needs at least 32 pixels, got {self.long_side}")
