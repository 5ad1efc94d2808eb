"""YuNet on OpenCV, with the model file face_detection_yunet_2023mar.onnx of the user."""

import threading
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.errors import FaceError, MissingModelError
from restora.faces.face import DETECTOR_LONG_SIDE, Face, cap_long_side, faces_from_rows

SCORE_THRESHOLD = 0.8
IOU_THRESHOLD = 0.3
# from right eye, left eye, nose, right and left mouth corner, as seen by the person
_ROW = (0, 1, 2, 3, 14, *range(4, 14))


class YuNetDetector:
    """Detects faces with cv2.FaceDetectorYN. Right and left of the model are left and right of the
    image, so its order of landmarks is that of Face."""

    name = "YuNet"

    def __init__(
        self,
        model: Path,
        *,
        score_threshold: float = SCORE_THRESHOLD,
        long_side: int | None = DETECTOR_LONG_SIDE,
    ) -> None:
        if not model.is_file():
            raise MissingModelError(
                f"there is no YuNet model at {model}: get face_detection_yunet_2023mar.onnx from "
                "github.com/opencv/opencv_zoo and put it there"
            )
        try:
            self._detector = cv2.FaceDetectorYN.create(
                str(model), "", (320, 320), score_threshold, IOU_THRESHOLD
            )
        except cv2.error as error:
            raise FaceError(f"OpenCV cannot load {model} as a YuNet model: {error.err}") from error
        self.long_side = long_side
        self._lock = threading.Lock()  # the input size is a property of the object

    def detect(self, pixels: NDArray[np.uint8]) -> list[Face]:
        small, scale_x, scale_y = cap_long_side(pixels, self.long_side)
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        try:
            with self._lock:
                self._detector.setInputSize((small.shape[1], small.shape[0]))
                found = self._detector.detect(bgr)[1]
        except cv2.error as error:
            raise FaceError(f"YuNet failed on {small.shape}: {error.err}") from error
        # None without faces, which the types of OpenCV do not declare
        rows = np.asarray([] if found is None else found, np.float64).reshape(-1, 15)
        rows[:, 2:4] += rows[:, :2]  # convert width and height to the opposite corner
        return faces_from_rows(rows[:, _ROW], scale_x, scale_y)

    def close(self) -> None:
        pass
