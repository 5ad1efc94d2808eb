"""How the faces of a photo are restored."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from restora.checks import check_choice, check_flag, check_number, check_whole, set_checked
from restora.errors import OptionError
from restora.faces.choose import EYE_DISTANCE_PX
from restora.faces.face import DETECTOR_LONG_SIDE

Detector = Literal["auto", "retinaface", "yunet", "centerface"]

MAX_BATCH = 1024


@dataclass(frozen=True, slots=True)
class FaceOptions:
    """Settings of the face stage. Raises OptionError for a value that cannot work.

    model: a face model's name, or the path of its artifact; None: the best one here
    detector: "retinaface", "yunet", "centerface", or "auto", the first of them here
    strength: blend weight, 0..1: 0 the original face, 1 the restored one
    parse: paste what the face parser calls face, not the whole crop
    eye_dist_threshold: faces whose eyes are closer, in photo pixels, are not restored
    only_center_face: restore only the face nearest to the photo's center
    batch: most faces in one call of the network
    long_side: larger photos are shrunk to this for the detector; None: never
    """

    model: str | Path | None = None
    detector: Detector = "auto"
    strength: float = 1.0
    parse: bool = False
    eye_dist_threshold: float = EYE_DISTANCE_PX
    only_center_face: bool = False
    batch: int = 8
    long_side: int | None = DETECTOR_LONG_SIDE

    def __post_init__(self) -> None:
        if not (self.model is None or isinstance(self.model, str | Path)):
            raise OptionError(f"a face model must be a name or a path, got {self.model!r}")
        long_side = self.long_side
        set_checked(
            self,
            detector=check_choice("detector", self.detector, get_args(Detector)),
            strength=check_number("the face strength", self.strength, least=0, most=1),
            parse=check_flag("parse", self.parse),
            eye_dist_threshold=check_number("the eye distance", self.eye_dist_threshold, least=0),
            only_center_face=check_flag("only_center_face", self.only_center_face),
            batch=check_whole("the batch of faces", self.batch, least=1, most=MAX_BATCH),
            long_side=long_side
            if long_side is None
            else check_whole("the detector's long_side", long_side, least=32),
        )
