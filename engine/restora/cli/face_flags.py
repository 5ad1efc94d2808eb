"""Options about faces, and whether faces are restored at all."""

from typing import Annotated, Literal

import typer

from restora.cli.console import print_note
from restora.errors import MissingModelError
from restora.faces.open import find_detector, find_face_model
from restora.faces.options import FaceOptions

Faces = Annotated[
    bool | None,
    typer.Option(
        "--faces/--no-faces",
        help="Restore faces with a network of their own. Default: if a face model is here.",
    ),
]
FaceEnhance = Annotated[bool, typer.Option("--face-enhance", help="The same as --faces.")]
FaceModel = Annotated[
    str | None,
    typer.Option(
        envvar="RESTORA_FACE_MODEL",
        help="A face model of `restora models`, or the path of its artifact or checkpoint. "
        "Default: the first that is on this machine.",
    ),
]
FaceDetector = Annotated[
    Literal["auto", "retinaface", "yunet", "centerface"],
    typer.Option(help="Face detector. auto: the first of these that is on this machine."),
]
FaceStrength = Annotated[
    float, typer.Option(min=0, max=1, help="Blend weight: 0 original face, 1 restored face.")
]
FaceBatch = Annotated[int, typer.Option(min=1, help="Faces per call of the face network, at most.")]
Parse = Annotated[
    bool,
    typer.Option(
        "--parse",
        help="Paste only what the face parser (parsing_parsenet) labels as face, not whole crops.",
    ),
]
EyeDistance = Annotated[
    float,
    typer.Option(
        min=0, help="Faces whose eyes are closer, in pixels of the input, are not restored."
    ),
]
OnlyCenter = Annotated[
    bool, typer.Option("--only-center-face", help="Restore only the face nearest to the center.")
]
Aligned = Annotated[
    bool,
    typer.Option(
        "--aligned",
        help="Inputs are aligned faces: each is restored as one face, without an upscaler.",
    ),
]
SaveFaces = Annotated[
    bool,
    typer.Option(
        "--save-faces",
        help="Also write cropped_faces/, restored_faces/ and cmp/ into the output folder.",
    ),
]


def face_options_or_none(wanted: bool | None, options: FaceOptions) -> FaceOptions | None:
    """What was asked for; None if faces are not restored. wanted None: decide by what is here.

    Raises MissingModelError if faces were asked for and no face model is here.
    """
    if wanted is False:
        return None
    model = options.model or find_face_model()
    if wanted is None and model is None:
        return None
    if model is not None and wanted is None and not _has_detector(options):
        print_note(
            f"faces are left to the upsampler: {model} is here, but nothing that finds faces "
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
