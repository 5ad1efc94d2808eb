"""Figures of found and of repaired damage, which add up over photos."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_CAP_DB = 150.0
_RIM_PX = 2


_S = TypeVar("_S", bound="_Sums")


@dataclass(frozen=True, slots=True)
class _Sums:
    """Figures that add up field by field."""

    def __add__(self: _S, other: _S) -> _S:
        names = [field.name for field in fields(self)]
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True)
class Detection(_Sums):
    """Counts of pixels. Pixels that are not asked for count nowhere.

    found, right: in the found mask; of these, no further than one pixel from true damage
    true, seen: in the true mask; of these, no further than one pixel from found damage
    both, either: in both masks, in any: exactly
    """

    found: int = 0
    right: int = 0
    true: int = 0
    seen: int = 0
    both: int = 0
    either: int = 0

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        return self.seen / self.true if self.true else 1.0

    @property
    def f1(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    @property
    def exact_f1(self) -> float:
        """F1 without the tolerance of one pixel."""
        total = self.both + self.either  # found and true together
        return 2 * self.both / total if total else 1.0

    @property
    def iou(self) -> float:
        return self.both / self.either if self.either else 1.0


@dataclass(frozen=True, slots=True)
class Repair(_Sums):
    """Sums over pixels of damage.

    pixels, error, likeness: inside the true mask: how many, their squared errors (levels, mean of
        channels) and their structural similarities
    rim_pixels, rim_error: those of them next to the edge of the mask
    changed: pixels outside the mask in use that are not what they were
    """

    pixels: int = 0
    error: float = 0.0
    likeness: float = 0.0
    rim_pixels: int = 0
    rim_error: float = 0.0
    changed: int = 0

    @property
    def psnr(self) -> float:
        """In dB, over all pixels of damage of all photos together."""
        return psnr_of(self.error, self.pixels)

    @property
    def rim_psnr(self) -> float:
        return psnr_of(self.rim_error, self.rim_pixels)

    @property
    def ssim(self) -> float:
        return self.likeness / self.pixels if self.pixels else 1.0


@dataclass(frozen=True, slots=True)
class KindFigures(_Sums):
    """Sums over the pixels of one kind of damage.

    pictures: how many have it
    true, seen: as in Detection
    before, after: squared errors (levels, mean of channels) of the damaged and the repaired picture
    """

    pictures: int = 0
    true: int = 0
    seen: int = 0
    before: float = 0.0
    after: float = 0.0

    @property
    def recall(self) -> float:
        return self.seen / self.true if self.true else 1.0

    @property
    def gain(self) -> float:
        """How much nearer the repaired picture is to the clean one, in dB, at most 150."""
        if not self.before or not self.after:
            return _CAP_DB if self.before else 0.0
        return min(_CAP_DB, 10 * math.log10(self.before / self.after))


@dataclass(frozen=True, slots=True)
class PhotoFigures:
    """One photo.

    scratches: found in its scratched versions
    false_share: of its own pixels in the mask, undamaged
    clean_psnr: of the repaired undamaged photo to itself, in dB, at most 150
    """

    scratches: Detection
    false_share: float
    clean_psnr: float


def detection_of(found: Mask, true: Mask, *, asked: Mask) -> Detection:
    """asked: of the pixels in the true mask, those that count"""
    wanted = true & asked
    counted = found & ~(true & ~asked)
    near = _grow(true)
    return Detection(
        int(counted.sum()),
        int((counted & near).sum()),
        int(wanted.sum()),
        int((wanted & _grow(found)).sum()),
        int((counted & wanted).sum()),
        int((counted | wanted).sum()),
    )


def kind_figures_of(
    kind: Mask, found: Mask, clean: Pixels, before: Pixels, after: Pixels, *, asked: Mask
) -> KindFigures:
    """kind: pixels with this kind of damage; asked: as in detection_of"""
    wanted = kind & asked
    errors = (
        float(np.square(picture[kind].astype(np.float64) - clean[kind]).mean(1).sum())
        for picture in (before, after)
    )
    return KindFigures(
        int(kind.any()), int(wanted.sum()), int((wanted & _grow(found)).sum()), *errors
    )


def repair_of(result: Pixels, clean: Pixels, before: Pixels, true: Mask, *, used: Mask) -> Repair:
    """used: the mask that the result was made with"""
    squares = np.square(result.astype(np.float64) - clean).mean(2)
    _, likeness = structural_similarity(
        result, clean, data_range=255, channel_axis=2, win_size=7, full=True
    )
    kernel = np.ones((2 * _RIM_PX + 1,) * 2, np.uint8)
    inner = np.asarray(cv2.erode(true.astype(np.uint8), kernel), np.bool_)
    rim = true & ~inner
    changed = (result != before).any(2) & ~used
    return Repair(
        int(true.sum()),
        float(squares[true].sum()),
        float(likeness.mean(2)[true].sum()),
        int(rim.sum()),
        float(squares[rim].sum()),
        int(changed.sum()),
    )


def _grow(mask: Mask) -> Mask:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)), np.bool_)


def psnr_of(error: float, pixels: int) -> float:
    """error: sum of squared differences in levels; in dB, at most 150"""
    if not pixels or not error:
        return _CAP_DB
    return min(_CAP_DB, -10 * math.log10(error / pixels / 255**2))
