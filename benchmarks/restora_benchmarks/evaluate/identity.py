"""Whether a restored face is still the same person's: the angle between ArcFace embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.errors import MissingModelError, ModelError
from restora.faces.align import TEMPLATE as FFHQ_TEMPLATE
from restora.faces.align import TEMPLATE_SIDE

Pixels = NDArray[np.uint8]
SIDE = 112
# the five points that ArcFace networks are trained on, 112 x 112 (arXiv:1801.07698, insightface)
TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    np.float32,
)


class IdentityDistance:
    """Mean angle in degrees between the embeddings of clean and restored aligned faces; 0 is the
    same picture, 90 nothing in common.

    model  an ArcFace ONNX file: (1, 3, 112, 112) RGB in -1..1 to (1, n)

    Raises MissingModelError, or ModelError if the file is something else.
    """

    name = "identity"

    def __init__(self, model: Path) -> None:
        import onnxruntime

        if not model.is_file():
            raise MissingModelError(f"there is no ArcFace model at {model}")
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own exception types are not public
            raise ModelError(f"{model} is no ONNX model that can be run: {error}") from error
        (self._input,) = self._session.get_inputs()
        shape = list(self._input.shape)
        if len(shape) != 4 or shape[1:] != [3, SIDE, SIDE]:
            raise ModelError(f"{model} must take (batch, 3, {SIDE}, {SIDE}), it takes {shape}")
        self._angles: list[float] = []

    def add(self, clean: Pixels, restored: Pixels) -> None:
        one, other = self._embed(clean), self._embed(restored)
        cosine = float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
        self._angles.append(float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))))

    def figure(self) -> float:
        return float(np.mean(self._angles))

    def _embed(self, face: Pixels) -> NDArray[np.float32]:
        crop = crop_for_arcface(face).astype(np.float32)
        planes = ((crop - 127.5) / 127.5).transpose(2, 0, 1)[None]
        results: list[Any] = self._session.run(None, {self._input.name: planes})
        return np.asarray(results[0], np.float32).ravel()


def crop_for_arcface(face: Pixels) -> Pixels:
    """Bring an aligned face (FFHQ template, square, any side) onto ArcFace's template."""
    scale = face.shape[0] / TEMPLATE_SIDE
    # a threshold that all five points pass: the least squares of all of them
    matrix, _ = cv2.estimateAffinePartial2D(
        FFHQ_TEMPLATE * scale, TEMPLATE, method=cv2.RANSAC, ransacReprojThreshold=SIDE
    )
    size = (SIDE, SIDE)
    return np.asarray(cv2.warpAffine(face, matrix, size, flags=cv2.INTER_AREA), np.uint8)
