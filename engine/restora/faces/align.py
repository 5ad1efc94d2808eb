"""Align faces with the template that face networks are trained on."""

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
# FFHQ alignment (arXiv:1812.04948) as in GFP-GAN: x, y of left eye, right eye, nose, left and right
# mouth corner, at 512 pixels
TEMPLATE = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
OUTSIDE_RGB = (132, 133, 135)  # fills a crop outside the photo


@dataclass(frozen=True, slots=True, eq=False)
class FaceCrop:
    """An aligned face.

    pixels: RGB, (side, side, 3), in the dtype of the photo
    matrix: (2, 3), maps photo pixels to crop pixels
    """

    pixels: Pixels
    matrix: Matrix


def fit_similarity(landmarks: NDArray[np.floating], *, side: int = TEMPLATE_SIDE) -> Matrix:
    """Fit the rotation, scale and translation from the photo to the template: (2, 3).

    landmarks: (5, 2), x and y in photo pixels

    The fit is robust (least median of squares, as in the original code): it ignores an outlier.
    Raises ShapeError, or FaceError if there is no such mapping, for example because all landmarks
    are the same point.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2):
        raise ShapeError(f"landmarks must have shape (5, 2), got {points.shape}")
    if not np.isfinite(points).all():
        raise FaceError("the landmarks hold NaN or Inf")
    target = TEMPLATE * (side / TEMPLATE_SIDE)
    # OpenCV fits in float32, which far from the origin would reject good landmarks
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
    """Rotate and scale a face onto the template of `side` pixels.

    pixels: RGB, (height, width, 3), uint8 or uint16
    landmarks: (5, 2), x and y in photo pixels

    Raises ShapeError for an array of another shape, and FaceError if the landmarks do not form a
    face or the face lies outside of the photo.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ShapeError(f"pixels must have shape (height, width, 3), got {pixels.shape}")
    matrix = fit_similarity(landmarks, side=side)
    left, top, right, bottom = _seen_region(matrix, side, pixels.shape[1], pixels.shape[0])
    if right <= left or bottom <= top:
        raise FaceError("the face lies outside of the photo")
    # only the visible part, since OpenCV does not support sides of 32768 pixels or more
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ (left, top)
    max_value = np.iinfo(pixels.dtype).max
    crop = cv2.warpAffine(
        pixels[top:bottom, left:right],
        shifted,
        (side, side),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=tuple(value * max_value // 255 for value in OUTSIDE_RGB),
    )
    return FaceCrop(np.asarray(crop, pixels.dtype), matrix)


def _seen_region(matrix: Matrix, side: int, width: int, height: int) -> tuple[int, int, int, int]:
    """The region of the photo that the crop shows, with a margin of two pixels."""
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [side, 0, 1], [0, side, 1], [side, side, 1]]) @ inverse.T
    low, high = corners.min(0) - 2, corners.max(0) + 3
    return (
        max(0, math.floor(min(low[0], width))),
        max(0, math.floor(min(low[1], height))),
        min(width, math.ceil(max(high[0], 0))),
        min(height, math.ceil(max(high[1], 0))),
    )
