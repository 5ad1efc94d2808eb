"""Masks of damage: read from a file, decided from probabilities, bounded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.errors import OptionError, ShapeError
from restora.image import Photo, read_photo

Mask = NDArray[np.bool_]
Plane = NDArray[np.uint8]
Box = tuple[float, float, float, float]

THIN_PX = 12  # what is wider is no scratch
_SMALLEST_PX = 3  # pixels above the threshold that a place of damage has
_EXTEND = 0.6  # of the threshold: what its neighbors must reach
_FEW_PX = 150  # less damage than this in a whole photo must be certain
_CERTAIN = 0.9  # probability
_CERTAIN_PX = 20  # pixels of it
_UNDECIDED = 0.05  # the largest share of a mask that is neither black nor white, nor gray
_GRAY_SPREAD = 0.12  # of the channels of a gray pixel, of the whole range
_HALF = 0.5


def read_mask(source: str | Path | NDArray[Any]) -> Mask:
    """Read a mask: white where the photo is damaged, black elsewhere.

    source: the path of a picture, or an array: bool, or uint8 in 0..255 or 0..1

    Raises ImageError if the file cannot be read, OptionError if it is not black and white,
    ShapeError for another array.
    """
    if isinstance(source, np.ndarray):
        if source.dtype == np.bool_ and source.ndim == 2:
            return np.asarray(source, np.bool_)
        if source.dtype != np.uint8 or source.ndim != 2:
            raise ShapeError(
                f"a damage mask must be bool or uint8 of shape (height, width), got {source.dtype} "
                f"of shape {source.shape}"
            )
        return _decide(Photo(source), "the damage mask")
    return _decide(read_photo(Path(source)), str(source))


def require_size(mask: Mask, photo: Photo) -> None:
    """Raise ShapeError unless the mask has the size of the photo."""
    if mask.shape != (photo.height, photo.width):
        height, width = mask.shape
        raise ShapeError(
            f"the damage mask must have the size of the photo, {photo.width} x {photo.height}, got "
            f"{width} x {height}"
        )


def decide_mask(probability: Plane, threshold: float, *, grow_px: int = 1) -> Mask:
    """The pixels that count as damaged.

    probability: 0..255, (height, width)
    threshold: 0..1
    grow_px: how much wider the mask is than what was found: the rim of a scratch is faint

    A region of damage has several pixels above the threshold, and extends to its neighbors that
    reach most of it (hysteresis: Canny, 1986). A photo with a few uncertain pixels in all counts as
    undamaged: they are more often glints and twigs.
    """
    sure = probability >= threshold * 255
    likely = (probability >= threshold * 255 * _EXTEND).astype(np.uint8)
    count, labels = cv2.connectedComponents(likely, connectivity=8)
    kept = np.bincount(labels[sure], minlength=count) >= _SMALLEST_PX
    kept[0] = False
    damaged = kept[labels]
    certain = np.count_nonzero(probability[damaged] >= _CERTAIN * 255)
    if np.count_nonzero(damaged) < _FEW_PX and certain < _CERTAIN_PX:
        return np.zeros_like(damaged)
    found = damaged.astype(np.uint8)
    if grow_px:
        side = 2 * grow_px + 1
        found = np.asarray(cv2.dilate(found, np.ones((side, side), np.uint8)), np.uint8)
    return np.asarray(found > 0, np.bool_)


def keep_thin(mask: Mask) -> Mask:
    """Without what is wider than a scratch."""
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (THIN_PX, THIN_PX))
    wide = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disk)
    # an opening leaves the ragged rim of what is wide
    wide = cv2.dilate(wide, np.ones((5, 5), np.uint8))
    return mask & ~np.asarray(wide, np.bool_)


def spare_faces(mask: Mask, boxes: Sequence[Box], most: float) -> tuple[Mask, int]:
    """The mask without the faces of which it covers a larger share than `most`, and how many those
    are.

    boxes: left, top, right, bottom in pixels; they may extend beyond the photo
    """
    height, width = mask.shape
    spared = 0
    result = mask
    for box in boxes:
        left, right = (int(np.clip(round(x), 0, width)) for x in (box[0], box[2]))
        top, bottom = (int(np.clip(round(y), 0, height)) for y in (box[1], box[3]))
        inside = (slice(top, bottom), slice(left, right))
        face = mask[inside]
        if face.size and face.mean() > most:
            result = result.copy() if result is mask else result
            result[inside] = False
            spared += 1
    return result, spared


def count_regions(mask: Mask) -> int:
    """The number of connected places of damage."""
    return int(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0]) - 1


def _decide(photo: Photo, name: str) -> Mask:
    pixels = photo.pixels
    # label images hold 0 and 1
    white = np.float32(1 if pixels.max(initial=0) <= 1 else photo.white)
    levels = pixels.astype(np.float32) / white
    if levels.ndim == 3:
        colored = float((np.ptp(levels, axis=2) > _GRAY_SPREAD).mean())
        if colored > _UNDECIDED:
            raise OptionError(
                f"{name} must be black and white: white where the photo is damaged; {colored:.0%} "
                "of it has a color"
            )
        levels = levels.mean(2)
    if photo.alpha is not None:
        levels = levels * (photo.alpha.astype(np.float32) / np.float32(photo.white))
    between = float(((levels > _HALF / 2) & (levels < 1 - _HALF / 2)).mean())
    if between > _UNDECIDED:
        raise OptionError(
            f"{name} must be black and white: white where the photo is damaged; {between:.0%} of "
            "it is gray"
        )
    return levels >= _HALF
