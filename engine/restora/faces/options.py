"""Options of face restoration."""

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
    """Options of face restoration. Raises OptionError for an invalid value.

    model: name of a face model, or path of its artifact; None uses the best one on this machine
    detector: "retinaface", "yunet" or "centerface"; "auto" uses the first one on this machine
    strength: blend weight from 0 (the original face) to 1 (the restored face)
    parse: paste only the area that the face parser labels as face, instead of the whole crop
    eye_dist_threshold: faces whose eyes are closer, in photo pixels, are not restored
    only_center_face: restore only the face that is closest to the center of the photo
    batch: the largest batch of faces
    long_side: photos with a longer side are downsampled to it for the detector; None disables this
    published_paste: paste as the published script, which darkens the borders of small faces and
        truncates gray levels
    """

    model: str | Path | None = None
    detector: Detector = "auto"
    strength: float = 1.0
    parse: bool = False
    eye_dist_threshold: float = EYE_DISTANCE_PX
    only_center_face: bool = False
    batch: int = 8
    long_side: int | None = DETECTOR_LONG_SIDE
    published_paste: bool = False

    def __post_init__(self) -> None:
        if not (self.model is None or isinstance(self.model, str | Path)):
            raise OptionError(f"a face model must be a name or a path, got {self.model!r}")
        long_side = self.long_side
        set_checked(
            self,
            detector=check_choice("detector", self.detector, get_args(Detector)),
            strength=check_number("the face strength", self.strength, minimum=0, maximum=1),
            parse=check_flag("parse", self.parse),
            published_paste=check_flag("published_paste", self.published_paste),
            eye_dist_threshold=check_number("the eye distance", self.eye_dist_threshold, minimum=0),
            only_center_face=check_flag("only_center_face", self.only_center_face),
            batch=check_whole("the batch of faces", self.batch, minimum=1, maximum=MAX_BATCH),
            long_side=long_side
            if long_side is None
            else check_whole("the detector's long_side", long_side, minimum=32),
        )
