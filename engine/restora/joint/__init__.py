"""The faces of a photo, from detection to paste: the stages put together."""

from restora.joint.open import open_faces
from restora.joint.options import FaceOptions
from restora.joint.stage import FaceOutcome, FaceStage

__all__ = ["FaceOptions", "FaceOutcome", "FaceStage", "open_faces"]
