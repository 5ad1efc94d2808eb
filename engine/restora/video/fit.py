"""Fit a frame of another size or shape to the size of the video."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8 | np.uint16]


def fit_pixels(pixels: Pixels, size: tuple[int, int], *, shape: float = 1.0) -> Pixels:
    """Scale to `size` with the aspect ratio kept, and fill the rest with black.

    pixels: uint8 or uint16, (height, width, 3)
    size: (width, height) of the result
    shape: aspect ratio of a given pixel, divided by that of the result

    Returns (height, width, 3), contiguous, of the same dtype.
    """
    height, width, _ = pixels.shape
    wide, high = width * shape, float(height)
    scale = min(size[0] / wide, size[1] / high)
    inner = tuple(
        _whole(side * scale, limit) for side, limit in zip((wide, high), size, strict=True)
    )
    smaller = inner[0] * inner[1] < width * height
    scaled = cv2.resize(
        np.ascontiguousarray(pixels),
        inner,
        interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC,
    )
    if inner == size:
        return np.ascontiguousarray(scaled)
    fitted = np.zeros((size[1], size[0], 3), pixels.dtype)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    fitted[top : top + inner[1], left : left + inner[0]] = scaled
    return fitted


def _whole(side: float, limit: int) -> int:
    """In pixels. A side that is almost full is stretched: encoders cut sizes to even numbers."""
    return limit if side > limit * 0.99 - 1 else max(1, round(side))
