"""Changes of color: shifts, gray, brightness, contrast, saturation and hue.

All work on float32 RGB (height, width, 3), 0..1.
"""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

_GRAY = np.array([0.2989, 0.587, 0.114], np.float32)


def shift_channels(photo: Pixels, shift: NDArray[np.floating]) -> Pixels:
    """Add a constant to each channel and clip."""
    return np.clip(photo + shift.astype(np.float32), 0, 1)


def make_gray(photo: Pixels) -> Pixels:
    """The luma in all three channels."""
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    return np.repeat(gray[:, :, None], 3, 2).astype(np.float32, copy=False)


def adjust_brightness(photo: Pixels, factor: float) -> Pixels:
    return _blend(photo, np.zeros((), np.float32), factor)


def adjust_contrast(photo: Pixels, factor: float) -> Pixels:
    """Blend with the mean of the gray image."""
    return _blend(photo, (photo @ _GRAY).mean(dtype=np.float64), factor)


def adjust_saturation(photo: Pixels, factor: float) -> Pixels:
    """Blend with the gray image."""
    return _blend(photo, (photo @ _GRAY)[:, :, None], factor)


def adjust_hue(photo: Pixels, turn: float) -> Pixels:
    """Rotate the hue.

    turn: share of the whole circle, -0.5..0.5
    """
    hsv = cv2.cvtColor(photo, cv2.COLOR_RGB2HSV)
    hsv[:, :, 0] = (hsv[:, :, 0] + 360 * turn) % 360
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.float32, copy=False)


ADJUSTMENTS = {
    "brightness": adjust_brightness,
    "contrast": adjust_contrast,
    "saturation": adjust_saturation,
    "hue": adjust_hue,
}


def adjust_in_order(photo: Pixels, factors: Mapping[str, float]) -> Pixels:
    """Apply ADJUSTMENTS in the order of `factors`."""
    for name, factor in factors.items():
        photo = ADJUSTMENTS[name](photo, factor)
    return photo


def _blend(photo: Pixels, other: NDArray[np.floating] | np.floating, share: float) -> Pixels:
    mixed = share * photo + (1 - share) * other
    return np.clip(mixed, 0, 1).astype(np.float32, copy=False)
