"""Detect, align, restore and paste faces."""

from restora.faces.align import FaceCrop, align_face, fit_similarity
from restora.faces.choose import find_center_face, reject_small
from restora.faces.face import Face, FaceDetector
from restora.faces.parse import FaceParser
from restora.faces.paste import paste_face
from restora.faces.restore import FaceRestorer
from restora.faces.retinaface import RetinaFaceDetector

__all__ = [
    "Face",
    "FaceCrop",
    "FaceDetector",
    "FaceParser",
    "FaceRestorer",
    "RetinaFaceDetector",
    "align_face",
    "find_center_face",
    "fit_similarity",
    "paste_face",
    "reject_small",
]
