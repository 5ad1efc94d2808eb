"""Classify tiles by simple measures, so that a set of tiles has all kinds of content."""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

TileKind = Literal["flat", "text", "skin", "edges", "texture"]
KINDS: tuple[TileKind, ...] = get_args(TileKind)
_FLAT_LEVELS = 6.0  # standard deviation of luma
_NEAR_ENDS = 0.75  # share of the pixels of text that are close to paper or ink
_SKIN_SHARE = 0.35
_COHERENT = 0.35
# Chai and Ngan, Face segmentation using skin-color map, 1999
_SKIN_CR, _SKIN_CB = (133, 173), (77, 127)


def kind_of(tile: NDArray[np.uint8]) -> TileKind:
    """Classify a tile, uint8 RGB, (height, width, 3).

    "skin" represents faces, since faces are larger than tiles.
    """
    gray = cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if float(gray.std()) < _FLAT_LEVELS:
        return "flat"
    if _near_ends(gray) > _NEAR_ENDS and _coherence(gray) < 2 * _COHERENT:
        return "text"
    if _skin_share(tile) > _SKIN_SHARE:
        return "skin"
    return "edges" if _coherence(gray) > _COHERENT else "texture"


def _near_ends(gray: NDArray[np.float32]) -> float:
    """Share of pixels within a fifth of the darkest or lightest value, if these are far apart."""
    dark, light = np.percentile(gray, (2, 98))
    if light - dark < 80:
        return 0.0
    near = np.minimum(np.abs(gray - dark), np.abs(gray - light)) < 0.2 * (light - dark)
    return float(near.mean())


def _skin_share(tile: NDArray[np.uint8]) -> float:
    _, cr, cb = cv2.split(cv2.cvtColor(tile, cv2.COLOR_RGB2YCrCb))
    inside = (cr >= _SKIN_CR[0]) & (cr <= _SKIN_CR[1]) & (cb >= _SKIN_CB[0]) & (cb <= _SKIN_CB[1])
    return float(inside.mean())


def _coherence(gray: NDArray[np.float32]) -> float:
    """How much of the gradient has one direction, 0..1.

    It is computed from the structure tensor of the whole tile, weighted by its strength.
    """
    x, y = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    xx, yy, xy = (cv2.blur(product, (9, 9)) for product in (x * x, y * y, x * y))
    strength = xx + yy
    directed = np.sqrt((xx - yy) ** 2 + 4 * xy**2)
    return float(directed.sum() / max(float(strength.sum()), 1e-6)) ** 2
