"""How a picture has faded: its darkest and lightest values, and whether it is toned."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8 | np.uint16]
Values = NDArray[np.float32]
Triple = tuple[float, float, float]

_LONGEST = 512  # pixels; statistics need no more
_ENDS = (0.4, 99.6)  # percentiles
_BINS = 24
_TONED = 0.0175  # mean distance from one curve through color space, of the range of each channel
_LEAST_RANGE = 0.05
_TINT = 0.01  # of a pixel that has one
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True)
class Fading:
    """Facts about a picture; values are 0..1.

    black, white: the values that nearly all pixels lie between, of R, G and B
    toned: the picture is gray, or of one tone such as sepia: each luma has one color
    tinted: how much of the lighter half of the picture has the tint of the white, 0..1: nearly all
        of it on yellowed paper, little where only a lamp or a fire is yellow
    """

    black: Triple
    white: Triple
    toned: bool
    tinted: float


def measure_fading(pixels: Pixels) -> Fading:
    """Measure a picture.

    pixels: uint8 or uint16; RGB (height, width, 3) or gray (height, width)
    """
    flat = _shrink(pixels).reshape(-1, 3)
    black, white = np.percentile(flat, _ENDS, axis=0)
    luma = flat @ _LUMA
    whole = (flat - black) / np.maximum(white - black, _LEAST_RANGE)
    return Fading(
        _triple(black), _triple(white), _is_toned(whole, luma), _share_of_tint(flat, luma, white)
    )


def _shrink(pixels: Pixels) -> Values:
    """float32 RGB in 0..1, at most 512 pixels a side, without noise and dust."""
    height, width = pixels.shape[:2]
    factor = min(1.0, _LONGEST / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    small = np.asarray(cv2.medianBlur(small, 3)) if min(size) >= 3 else small
    values = small.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    return np.repeat(values[..., None], 3, 2) if values.ndim == 2 else values


def _is_toned(flat: NDArray[np.floating], luma: Values) -> bool:
    """Whether the color is a function of the luma, apart from a little noise."""
    order = np.argsort(luma)
    distances = []
    for part in np.array_split(flat[order], _BINS):
        if len(part):
            chroma = part - part.mean(1, keepdims=True)
            distances.append(np.abs(chroma - np.median(chroma, axis=0)).mean())
    return float(np.mean(distances)) < _TONED


def _share_of_tint(flat: Values, luma: Values, white: NDArray[np.floating]) -> float:
    tint = white - white.mean()
    length = float(np.linalg.norm(tint))
    if length < _TINT:
        return 0.0
    lighter = flat[luma >= np.median(luma)]
    chroma = lighter - lighter.mean(1, keepdims=True)
    return float((chroma @ (tint / length) > _TINT).mean())


def _triple(values: NDArray[np.floating]) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
