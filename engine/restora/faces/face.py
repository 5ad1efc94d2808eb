"""Detected faces, and the interface of face detectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.errors import FaceError, ShapeError

Landmarks = NDArray[np.float64]
Box = tuple[float, float, float, float]
DETECTOR_LONG_SIDE = 1024  # larger photos take seconds without more detections


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A detected face.

    box: left, top, right, bottom in photo pixels; it may extend beyond the photo
    score: 0..1
    landmarks: (5, 2), x and y in photo pixels of left eye, right eye, nose, left and right mouth
        corner, where left and right are those of the image
    """

    box: Box
    score: float
    landmarks: Landmarks

    def __post_init__(self) -> None:
        if self.landmarks.shape != (5, 2):
            raise ShapeError(f"landmarks must have shape (5, 2), got {self.landmarks.shape}")

    @property
    def eye_distance_px(self) -> float:
        return float(np.hypot(*(self.landmarks[1] - self.landmarks[0])))


class FaceDetector(Protocol):
    """Detects faces. It can be called from several threads."""

    @property
    def name(self) -> str: ...

    def detect(self, pixels: NDArray[np.uint8]) -> list[Face]:
        """Detect the faces of an upright image, best score first.

        pixels: uint8 RGB, (height, width, 3)

        Raises FaceError or NonFiniteOutputError if the detector fails.
        """
        ...

    def close(self) -> None: ...


def cap_long_side(
    pixels: NDArray[np.uint8], long_side: int | None
) -> tuple[NDArray[np.uint8], float, float]:
    """Downsample an image so that its long side is at most `long_side`; None keeps the size.

    Returns the image and the factors that convert its x and y to the original.
    """
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if long_side is None or longest <= long_side:
        return pixels, 1.0, 1.0
    size = tuple(max(1, round(side * long_side / longest)) for side in (width, height))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), width / size[0], height / size[1]


def faces_from_rows(rows: NDArray[np.floating], scale_x: float, scale_y: float) -> list[Face]:
    """Convert rows of 15 values (box, score, five landmarks) to faces, best score first.

    Raises FaceError if a value is NaN or Inf.
    """
    rows = np.asarray(rows, np.float64).reshape(-1, 15)
    if not np.isfinite(rows).all():
        raise FaceError("the face detector returned NaN or Inf")
    faces = []
    for row in rows[np.argsort(-rows[:, 4], kind="stable")]:
        left, top, right, bottom = row[:4] * (scale_x, scale_y, scale_x, scale_y)
        landmarks = row[5:].reshape(5, 2) * (scale_x, scale_y)
        box = (float(left), float(top), float(right), float(bottom))
        faces.append(Face(box, float(row[4]), landmarks))
    return faces
