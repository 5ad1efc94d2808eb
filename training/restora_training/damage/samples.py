"""Patches to train on: parts of damage drawn ahead, put on parts of the free photos.

Every batch depends on its number and the seed alone, so that a run can continue where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from restora.damage.mask import keep_thin
from restora_training.damage.contents import Contents
from restora_training.damage.layer import Damaged, Layer, Mask, Photo, Plane, apply_layer
from restora_training.damage.lines import draw_scratch
from restora_training.damage.lookalikes import LOOKALIKES
from restora_training.damage.model import DEFECTS, AgingRange, Draw, age_photo

_DEFECTS: Mapping[str, Draw] = {
    **DEFECTS,
    # of the other scratches, few are wide; bars and strokes of objects often are
    "wide scratch": partial(draw_scratch, narrowest_px=2.0),
}
# how often each defect is drawn; large ones cover much of a patch and are rarer
SHARES: Mapping[str, float] = {
    "scratch": 17, "wide scratch": 9, "scratches": 10, "hair": 12, "dust": 11, "flakes": 6,
    "mold": 2, "stain": 2.5, "water_rim": 1, "fold": 3, "cracks": 4.5, "torn_edge": 2,
    "missing_corner": 1, "tape": 5,
}  # fmt: skip
_PLACES = 256  # pixels of a defect around which parts of it are cut
_AGING = AgingRange(0.35, 0.15, 0.3, 0.05, 0.05, 0.25, 0.06)
_LOOKALIKE = 0.36  # the share of parts with something drawn on them that looks like damage
# bars at equal distances and wires are the hardest to tell from scratches; a curl of ink on paper
# cannot be told from a hair
_LOOKALIKE_ODDS = {
    "fence": 2.0, "wires": 2.0, "cables": 2.0, "wings": 1.5, "line art": 0.5,
}  # fmt: skip
_SEEN = 0.65  # the share of parts to repair where the color of wide damage counts
_NEEDLESS = 0.15  # the share of these whose mask also covers what is not damaged
_SAVED = 0.25  # the share of these whose damage was saved as JPEG
# damage that is hardly seen is not asked for: its opacity, or the change in levels
FAINT_OPACITY = 0.12
FAINT = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """clean, picture: uint8 RGB; mask: what was damaged; asked: where the answer counts; hidden:
    for repair, damaged pixels whose color does not count"""

    clean: Photo
    picture: Photo
    mask: Mask
    asked: Mask
    hidden: Mask


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A defect, and some of the pixels that it covers, (count, 2): row and column"""

    opacity: NDArray[np.uint8]
    color: NDArray[np.uint8]
    places: NDArray[np.int16]

    @property
    def side(self) -> int:
        return len(self.opacity)

    def cut(self, patch: int, rng: np.random.Generator) -> Layer:
        """A part of the defect, turned, in a similar color; half of all parts are less opaque."""
        place = self.places[int(rng.integers(len(self.places)))]
        shift = rng.integers(-patch * 2 // 5, patch * 2 // 5 + 1, 2)
        top, left = np.clip(place - patch // 2 + shift, 0, self.side - patch)
        inside = (slice(top, top + patch), slice(left, left + patch))
        turns, flip = int(rng.integers(4)), rng.uniform() < 0.5
        opacity = np.rot90(self.opacity[inside], turns)
        opacity = opacity[:, ::-1] if flip else opacity
        color = self.color.astype(np.float32)
        if color.ndim == 3:
            color = np.rot90(color[inside], turns)
            color = color[:, ::-1] if flip else color
        else:
            color = np.clip(color + rng.normal(0, 15) + rng.normal(0, 4, 3), 0, 255)
        plane = np.asarray(opacity, np.float32) * np.float32(min(1.0, rng.uniform(0.6, 1.4)) / 255)
        return Layer(plane, color)


class PatchSource:
    """Makes samples of `patch` pixels a side.

    defects: how many are drawn ahead; it takes about 10 ms and 0.2 MB for each of 384 pixels
    drawn: side of the pictures on which they are drawn, in pixels; large holes grow with it
    photos: folders of clean photos; without any, the free photos for training
    """

    def __init__(
        self,
        patch: int,
        *,
        seed: int,
        defects: int = 2500,
        drawn: int = 384,
        photos: Sequence[Path] = (),
    ) -> None:
        self.patch, self.seed = patch, seed
        self._contents = Contents(patch, photos)
        rng = np.random.default_rng([seed, 1])
        names = list(SHARES)
        shares = np.array([SHARES[name] for name in names])
        chosen = rng.choice(len(names), defects, p=shares / shares.sum())
        self._defects = [_draw_defect(names[number], drawn, rng) for number in chosen]

    def make_batch(
        self,
        number: int,
        size: int,
        *,
        for_repair: bool,
        clean: float = 0.2,
        lines: bool = False,
    ) -> list[Sample]:
        """for_repair: damage without what scanning and saving do to a whole picture, which a mask
        cannot undo; clean: else, the share of samples without damage, 0..1; lines: else, show
        many objects with lines that are no damage"""
        rng = np.random.default_rng([self.seed, 2, number])
        if for_repair:
            return [self._for_repair(rng) for _ in range(size)]
        return [self._for_detection(rng, without=clean, lines=lines) for _ in range(size)]

    def _for_detection(self, rng: np.random.Generator, *, without: float, lines: bool) -> Sample:
        clean = self._contents.cut(rng, lines=lines)
        if rng.uniform() < _LOOKALIKE:
            names = list(LOOKALIKES)
            odds = np.array([_LOOKALIKE_ODDS.get(name, 1.0) for name in names])
            chosen = int(rng.choice(len(names), p=odds / odds.sum()))
            clean = LOOKALIKES[names[chosen]](clean, rng)
        if rng.uniform() < 0.4:
            clean = age_photo(clean, rng, _AGING)
        damaged, opacity = self._damage(clean, rng, none=without)
        picture, clean = _blur(damaged.picture, clean, rng)
        change = np.maximum.reduce(cv2.split(cv2.absdiff(picture, clean)))
        plain = (change >= FAINT) & (opacity >= FAINT_OPACITY)
        mask, asked = damaged.mask & plain, ~damaged.mask | plain
        return Sample(clean, _add_grain(picture, rng), mask, asked, np.zeros_like(mask))

    def _for_repair(self, rng: np.random.Generator) -> Sample:
        clean = self._contents.cut(rng)
        if rng.uniform() < 0.3:
            clean = age_photo(clean, rng, _AGING)
        damaged, _ = self._damage(clean, rng, none=0.0)
        mask, picture = damaged.mask, damaged.picture
        if rng.uniform() < 0.5:  # masks that are found are a little too wide
            side = int(rng.choice([2, 3, 3, 5]))
            mask = cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
        if rng.uniform() > _SEEN:
            return Sample(clean, picture, mask, mask, mask)
        if rng.uniform() < _NEEDLESS:
            mask = mask | (self._cut(rng).opacity > 0)
        if rng.uniform() < _SAVED:
            picture = np.where(mask[..., None], _save(picture, rng, lowest=80), picture)
        return Sample(clean, picture, mask, mask, keep_thin(mask))

    def _damage(
        self, clean: Photo, rng: np.random.Generator, *, none: float
    ) -> tuple[Damaged, Plane]:
        """The damaged picture, and the largest opacity of damage at each pixel."""
        damaged = Damaged(clean, np.zeros(clean.shape[:2], bool))
        opacity: Plane = np.zeros(clean.shape[:2], np.float32)
        if rng.uniform() < none:
            return damaged, opacity
        for _ in range(1 + int(rng.poisson(1.2))):
            layer = self._cut(rng)
            damaged = apply_layer(damaged, layer)
            opacity = np.maximum(opacity, layer.opacity)
        return damaged, opacity

    def _cut(self, rng: np.random.Generator) -> Layer:
        return self._defects[int(rng.integers(len(self._defects)))].cut(self.patch, rng)


def _draw_defect(name: str, side: int, rng: np.random.Generator) -> _Drawn:
    shape = (side, side)
    layer = _DEFECTS[name](shape, rng)
    places = np.argwhere(layer.opacity > 1 / 16)
    while not len(places):
        layer = _DEFECTS[name](shape, rng)
        places = np.argwhere(layer.opacity > 1 / 16)
    chosen = places[rng.integers(len(places), size=_PLACES)].astype(np.int16)
    opacity = np.rint(np.clip(layer.opacity, 0, 1) * 255).astype(np.uint8)
    return _Drawn(opacity, np.clip(layer.color, 0, 255).astype(np.uint8), chosen)


def _blur(picture: Photo, clean: Photo, rng: np.random.Generator) -> tuple[Photo, Photo]:
    """Blur most pairs, both pictures alike. A detector that rarely sees blur and grain learns that
    damage has hard edges and no grain, and misses it in scans."""
    if rng.uniform() >= 0.6:
        return picture, clean
    sigma = rng.uniform(0.3, 1.2)
    soft, reference = (cv2.GaussianBlur(each, (0, 0), sigma) for each in (picture, clean))
    return np.asarray(soft, np.uint8), np.asarray(reference, np.uint8)


def _add_grain(picture: Photo, rng: np.random.Generator) -> Photo:
    """Add grain to most pictures, and JPEG artifacts to half of them."""
    if rng.uniform() < 0.6:
        grain = rng.normal(0, rng.uniform(0.5, 8), picture.shape[:2])[..., None]
        picture = np.rint(np.clip(picture + grain, 0, 255)).astype(np.uint8)
    return _save(picture, rng, lowest=60) if rng.uniform() < 0.5 else picture


def _save(picture: Photo, rng: np.random.Generator, *, lowest: int) -> Photo:
    """Save the picture as JPEG, and read it again. lowest: quality"""
    quality = int(rng.integers(lowest, 98))
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
