"""Paste restored faces into the upscaled photo without a visible border."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.errors import ShapeError
from restora.image.photo import Pixels

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # the weights of OpenCV's RGB2GRAY


def paste_face(
    canvas: Pixels,
    face: Pixels,
    matrix: NDArray[np.float64],
    *,
    upscale: float,
    mask: NDArray[np.float64] | None = None,
    published: bool = False,
) -> None:
    """Blend a face into `canvas`, in place.

    canvas: the photo, upscaled by `upscale`: RGB or gray, uint8 or uint16; a gray canvas gets the
        luma of the face
    face: RGB, (side, side, 3), in the dtype of the canvas
    matrix: (2, 3), maps pixels of the original photo to face pixels
    mask: (side, side), 0..1; None uses the whole crop, eroded and blurred at its border
    published: reproduce the original script, which darkens the borders of small faces and truncates
        gray levels

    The geometry is that of the original script, including its half-pixel shift for upscale > 1.
    Only the region of the canvas that the face covers is changed.
    """
    side = face.shape[0]
    if face.shape != (side, side, 3) or face.dtype != canvas.dtype:
        raise ShapeError(
            f"the face must be {canvas.dtype} of shape (side, side, 3), "
            f"got {face.dtype} of shape {face.shape}"
        )
    inverse = inverse_matrix(matrix, upscale)
    left, top, right, bottom = _covered_region(inverse, side, canvas.shape[1], canvas.shape[0])
    if right <= left or bottom <= top:
        return
    inverse[:, 2] -= (left, top)
    size = (right - left, bottom - top)
    border = cv2.BORDER_CONSTANT if published else cv2.BORDER_REPLICATE
    warped = cv2.warpAffine(face, inverse, size, borderMode=border).astype(np.float32)
    if mask is None:
        field = cv2.warpAffine(np.ones((side, side), np.float32), inverse, size)
        inner = _erode(np.asarray(field, np.float32), int(2 * upscale))
        if published:
            warped *= inner[..., None]
        soft: NDArray[np.floating] = soften_mask(inner)
    else:
        soft = np.asarray(cv2.warpAffine(mask, inverse, size))
    region = canvas[top:bottom, left:right]
    if canvas.ndim == 2:
        warped = warped @ _LUMA
    else:
        soft = soft[..., None]
    blended = soft * warped + (1 - soft) * region
    if not published:
        blended = np.rint(blended)
    region[...] = np.clip(blended, 0, np.iinfo(canvas.dtype).max)


def inverse_matrix(matrix: NDArray[np.float64], upscale: float) -> NDArray[np.float64]:
    """Invert a matrix: (2, 3), maps face pixels to pixels of the upscaled photo."""
    inverse = np.asarray(cv2.invertAffineTransform(matrix), np.float64) * upscale
    if upscale > 1:
        inverse[:, 2] += 0.5 * upscale
    return inverse


def soften_mask(inner: NDArray[np.float32]) -> NDArray[np.float32]:
    """Erode and blur a mask by a twentieth of the side of the face."""
    edge = int(math.sqrt(float(inner.sum(dtype=np.float64)))) // 20
    eroded = _erode(inner, 2 * edge)
    kernel = 2 * edge + 1
    return np.asarray(cv2.GaussianBlur(eroded, (kernel, kernel), 0), np.float32)


def _erode(mask: NDArray[np.float32], kernel: int) -> NDArray[np.float32]:
    kernel = kernel or 3  # the result of OpenCV for an empty kernel
    return np.asarray(cv2.erode(mask, np.ones((kernel, kernel), np.uint8)), np.float32)


def _covered_region(
    inverse: NDArray[np.float64], side: int, width: int, height: int
) -> tuple[int, int, int, int]:
    """The region of the canvas that the face, the erosion and the blur read or write."""
    corners = np.array([[0, 0, 1], [side, 0, 1], [0, side, 1], [side, side, 1]]) @ inverse.T
    reach = 4 + 0.15 * math.hypot(*inverse[:, 0]) * side
    low, high = corners.min(0) - reach, corners.max(0) + reach
    return (
        max(0, math.floor(min(low[0], width))),
        max(0, math.floor(min(low[1], height))),
        min(width, math.ceil(max(high[0], 0))),
        min(height, math.ceil(max(high[1], 0))),
    )
