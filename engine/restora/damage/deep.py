"""Damage that is wider than a tile.

A tile inside it shows nothing undamaged, and nobody can tell from it what was there. Pixels far
from everything undamaged are therefore repaired at a reduced size, at which the surroundings lie
near; of what shines through, the detail of the photo's own size is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.damage.mask import Mask
from restora.image import Photo

_DEEP_PX = 64  # distance to the nearest undamaged pixel
_REDUCED_PX = 48  # what the largest distance becomes
_BLOCK_PX = 8  # distances are measured in blocks of so many pixels
_HALF = 127  # of a pixel
_ROWS = 256  # of an enlarged image at a time

Repaint = Callable[[Photo, Mask, Mask], Photo]


@dataclass(frozen=True, slots=True, eq=False)
class Deep:
    """mask: the deep pixels, (height, width); most: the largest distance, in pixels"""

    mask: Mask
    most: float


def find_deep(mask: Mask) -> Deep | None:
    """The damaged pixels far from all undamaged ones; None if there are none, and if nothing is
    undamaged."""
    height, width = mask.shape
    below, right = -height % _BLOCK_PX, -width % _BLOCK_PX
    padded = np.pad(mask, ((0, below), (0, right)), constant_values=True)
    blocks = padded.reshape(len(padded) // _BLOCK_PX, _BLOCK_PX, -1, _BLOCK_PX).all((1, 3))
    if blocks.all():
        return None
    inside = np.asarray(blocks, np.uint8)
    depths = cv2.distanceTransform(inside, cv2.DIST_L2, 5) * _BLOCK_PX
    most = float(depths.max())
    if most <= _DEEP_PX:
        return None
    deep = np.repeat(np.repeat(depths > _DEEP_PX, _BLOCK_PX, 0), _BLOCK_PX, 1)
    return Deep(np.asarray(deep[:height, :width], np.bool_), most)


def repair_deep(photo: Photo, mask: Mask, opaque: Mask, deep: Deep, repaint: Repaint) -> Photo:
    """The photo with the deep pixels repaired at a reduced size.

    opaque: pixels of the mask whose present color does not count
    repaint: repairs a photo, given its mask and its opaque pixels
    """
    factor = deep.most / _REDUCED_PX
    size = tuple(max(1, round(side / factor)) for side in (photo.width, photo.height))
    smaller = cv2.resize(photo.pixels, size, interpolation=cv2.INTER_AREA)
    small = Photo(np.asarray(smaller, photo.pixels.dtype))
    share = _shrink(mask, size)
    small_mask = share > share.min()  # if nothing is undamaged at this size, the least damaged is
    small_opaque = _shrink(opaque, size) > _HALF
    made = repaint(small, small_mask, small_opaque & small_mask)
    new = made.pixels.astype(np.float32)
    change = new - small.pixels
    pixels = photo.pixels.copy()
    for top in range(0, photo.height, _ROWS):
        rows = slice(top, min(top + _ROWS, photo.height))
        inside = deep.mask[rows]
        if inside.any():
            kept = pixels[rows] + _enlarge_rows(change, rows, photo)
            hidden = opaque[rows] if pixels.ndim == 2 else opaque[rows][..., None]
            mixed = np.where(hidden, _enlarge_rows(new, rows, photo), kept)
            levels = np.rint(np.clip(mixed, 0, photo.white)).astype(pixels.dtype)
            pixels[rows][inside] = levels[inside]
    return Photo(pixels)


def _shrink(mask: Mask, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """The share of the mask in each pixel, 0..255."""
    levels = mask.astype(np.uint8) * np.uint8(255)
    return np.asarray(cv2.resize(levels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _enlarge_rows(small: NDArray[np.float32], rows: slice, photo: Photo) -> NDArray[np.float32]:
    """Some rows of an image enlarged to the size of a photo."""
    scale = np.array([small.shape[1] / photo.width, small.shape[0] / photo.height])
    shift = scale * (0.5, 0.5 + rows.start) - 0.5  # centers of pixels
    matrix = np.concatenate((np.diag(scale), shift[:, None]), 1)
    size = (photo.width, rows.stop - rows.start)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    enlarged = cv2.warpAffine(small, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(enlarged, np.float32)
