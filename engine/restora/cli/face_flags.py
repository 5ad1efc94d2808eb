"""Options about faces, and whether faces are restored at all."""

from dataclasses import dataclass
from typing import Annotated, Literal

from restora.cli.console import print_note
from restora.cli.panels import faces
from restora.errors import MissingModelError
from restora.faces.choose import EYE_DISTANCE_PX
from restora.faces.open import find_detector, find_face_model
from restora.faces.options import FaceOptions

Faces = Annotated[
    bool | None,
    faces(
        "--faces/--no-faces",
        help="Restore faces with a network of their own. Default: if a face model is here.",
    ),
]
FaceEnhance = Annotated[bool, faces("--face-enhance", help="The same as --faces.")]
FaceModel = Annotated[
    str | None,
    faces(
        envvar="RESTORA_FACE_MODEL",
        help="A face model of `restora models`, or the path of an artifact or a checkpoint. "
        "Default: the first that is on this machine.",
    ),
]
FaceDetector = Annotated[
    Literal["auto", "retinaface", "yunet", "centerface"],
    faces(help="Face detector. auto: the first of these that is on this machine."),
]
FaceStrength = Annotated[
    float, faces(min=0, max=1, help="Blend weight: 0 original face, 1 restored face.")
]
FaceBatch = Annotated[int, faces(min=1, help="Maximum number of faces per network call.")]
Parse = Annotated[
    bool,
    faces(
        "--face-parsing",
        help="Paste only what the face parser (parsing_parsenet) labels as face, not whole crops.",
    ),
]
EyeDistance = Annotated[
    float,
    faces(min=0, help="Minimum distance between the eyes of a restored face, in input pixels."),
]
OnlyCenter = Annotated[
    bool, faces("--only-center-face", help="Restore only the face nearest to the center.")
]
Aligned = Annotated[
    bool,
    faces("--aligned", help="Inputs are aligned faces: restore each as one face, not upscaled."),
]
SaveFaces = Annotated[
    bool,
    faces(
        "--save-faces",
        help="Also write cropped_faces/, restored_faces/ and cmp/ into the output folder.",
    ),
]


@dataclass(frozen=True)
class FaceFlags:
    """All of them, of `restora restore`."""

    faces: Faces = None
    face_enhance: FaceEnhance = False
    face_model: FaceModel = None
    face_strength: FaceStrength = 1.0
    face_detector: FaceDetector = "auto"
    face_batch: FaceBatch = 8
    parse: Parse = False
    eye_dist_threshold: EyeDistance = EYE_DISTANCE_PX
    only_center_face: OnlyCenter = False
    aligned: Aligned = False
    save_faces: SaveFaces = False

    def choose(self) -> FaceOptions | None:
        """As face_options_or_none."""
        options = FaceOptions(
            model=self.face_model,
            detector=self.face_detector,
            strength=self.face_strength,
            parse=self.parse,
            eye_dist_threshold=self.eye_dist_threshold,
            only_center_face=self.only_center_face,
            batch=self.face_batch,
        )
        return face_options_or_none(self.face_enhance or self.aligned or self.faces, options)


def face_options_or_none(wanted: bool | None, options: FaceOptions) -> FaceOptions | None:
    """The options, or None if faces are not restored. wanted: None decides by what is here.

    Raises MissingModelError if faces are wanted and no face model is here.
    """
    if wanted is False:
        return None
    model = options.model or find_face_model()
    if wanted is None and model is None:
        return None
    if model is not None and wanted is None and not _has_detector(options):
        print_note(
            f"faces are not restored separately: {model} is here, but no face detector "
            "(see `restora doctor`)"
        )
        return None
    if model is None:
        raise MissingModelError(
            "--faces needs a face model: `restora models fetch GFPGANv1.4`, or name one with "
            "--face-model"
        )
    return options


def _has_detector(options: FaceOptions) -> bool:
    return options.detector != "auto" or find_detector() is not None
