"""Bring faces onto the template that the restorer was trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.errors import FaceError, ShapeError
from restora.image.photo import Pixels

Matrix = NDArray[np.float64]

TEMPLATE_SIDE = 512
# FFHQ alignment (arXiv:1812.04948) as the published restorer uses it: x, y at 512 pixels of left
# eye, right eye, nose, left and right mouth corner
TEMPLATE = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
OUTSIDE_RGB = (132, 133, 135)  # what a crop shows beyond the photo's border


@dataclass(frozen=True, slots=True, eq=False)
class FaceCrop:
    """An aligned face.

    pixels: RGB, (side, side, 3), dtype of the photo
    matrix: (2, 3), from photo pixels to crop pixels
    """

    pixels: Pixels
    matrix: Matrix


def fit_similarity(landmarks: NDArray[np.floating], *, side: int = TEMPLATE_SIDE) -> Matrix:
    """Rotation, scale and shift from the photo to the template: (2, 3).

    landmarks: (5, 2): x, y in photo pixels

    Robust (least median of squares), as published: a landmark that disagrees is left out.
    Raises ShapeError, or FaceError if no such mapping exists (landmarks in one point, say).
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2):
        raise ShapeError(f"landmarks must have shape (5, 2), got {points.shape}")
    if not np.isfinite(points).all():
        raise FaceError("the landmarks hold NaN or Inf")
    target = TEMPLATE * (side / TEMPLATE_SIDE)
    # OpenCV fits in float32: far from the origin it would drop good landmarks
    origin = np.round(points.mean(0))
    matrix, _ = cv2.estimateAffinePartial2D(points - origin, target, method=cv2.LMEDS)
    if matrix is None or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:, :2])) < 1e-8:
        raise FaceError("the landmarks do not span a face")
    fitted = np.array(matrix, np.float64)
    fitted[:, 2] -= fitted[:, :2] @ origin
    return fitted


def align_face(
    pixels: Pixels, landmarks: NDArray[np.floating], *, side: int = TEMPLATE_SIDE
) -> FaceCrop:
    """Rotate and scale one face onto the template of `side` pixels.

    pixels: RGB, (height, width, 3), uint8 or uint16
    landmarks: (5, 2): x, y in photo pixels

    Raises ShapeError if an array is laid out otherwise, FaceError if the landmarks are no face or
    the face lies outside of the photo.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ShapeError(f"pixels must have shape (height, width, 3), got {pixels.shape}")
    matrix = fit_similarity(landmarks, side=side)
    left, top, right, bottom = _seen_region(matrix, side, pixels.shape[1], pixels.shape[0])
    if right <= left or bottom <= top:
        raise FaceError("the face lies outside of the photo")
    # only the part that is seen: OpenCV takes no picture of 32768 pixels or more
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ (left, top)
    white = np.iinfo(pixels.dtype).max
    crop = cv2.warpAffine(
        pixels[top:bottom, left:right],
        shifted,
        (side, side),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=tuple(value * white // 255 for value in OUTSIDE_RGB),
    )
    return FaceCrop(np.asarray(crop, pixels.dtype), matrix)


def _seen_region(matrix: Matrix, side: int, width: int, height: int) -> tuple[int, int, int, int]:
    """The part of the photo that the crop shows, two pixels more on each side."""
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [side, 0, 1], [0, side, 1], [side, side, 1]]) @ inverse.T
    low, high = corners.min(0) - 2, corners.max(0) + 3
    return (
        max(0, math.floor(min(low[0], width))),
        max(0, math.floor(min(low[1], height))),
        min(width, math.ceil(max(high[0], 0))),
        min(height, math.ceil(max(high[1], 0))),
    )
