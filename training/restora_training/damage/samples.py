"""Patches to train on: damage drawn ahead, put on random places of the free photos.

Every batch depends on its number and the seed alone, so that a run can continue where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from restora_calibration.photos import TRAINING, read_free_photo
from restora_training.damage.layer import Damaged, Layer, Mask, Photo, Plane, apply_layer
from restora_training.damage.lookalikes import LOOKALIKES
from restora_training.damage.model import DEFECTS, AgingRange, age_photo
from restora_training.data.augment import jitter_color, shrink_photo

# how often each defect is drawn; large ones cover much of a patch and are rarer
SHARES: Mapping[str, float] = {
    "scratch": 5, "scratches": 2, "hair": 2.5, "dust": 2, "mold": 1, "stain": 0.4, "water_rim": 0.7,
    "fold": 2, "cracks": 2, "torn_edge": 0.7, "missing_corner": 0.5, "tape": 0.4,
}  # fmt: skip
_DRAWN_SIDE = 384  # of the pictures whose parts the windows are
_SIZES = (1.0, 0.7, 0.5)
# pictures of other things than prints show, which would outweigh the rest
_RARE = {"hubble_deep_field", "retina", "immunohistochemistry", "cell"}
_AGING = AgingRange(0.35, 0.15, 0.3, 0.05, 0.05, 0.25, 0.06)
# damage that is hardly seen is not asked for: its opacity, or the change in levels
FAINT_OPACITY = 0.25
FAINT = 12


@dataclass(frozen=True, slots=True)
class Sample:
    """clean, picture: uint8 RGB; mask: what was damaged; asked: where the answer counts"""

    clean: Photo
    picture: Photo
    mask: Mask
    asked: Mask


@dataclass(frozen=True, slots=True)
class _Window:
    opacity: NDArray[np.uint8]
    color: NDArray[np.uint8]

    def to_layer(self, rng: np.random.Generator) -> Layer:
        turns, flip = int(rng.integers(4)), rng.uniform() < 0.5
        opacity, color = self.opacity, self.color
        if color.ndim == 3:
            color = np.rot90(color, turns)[:, ::-1] if flip else np.rot90(color, turns)
        opacity = np.rot90(opacity, turns)
        opacity = opacity[:, ::-1] if flip else opacity
        plane = np.asarray(opacity, np.float32) * np.float32(rng.uniform(0.6, 1.0) / 255)
        return Layer(plane, color.astype(np.float32))


class PatchSource:
    """Makes samples of `patch` pixels a side.

    windows: how many parts of defects are drawn ahead; it takes about 10 ms for each
    """

    def __init__(self, patch: int, *, seed: int, windows: int = 1500) -> None:
        self.patch, self.seed = patch, seed
        self._photos, self._odds = _read_photos(patch)
        rng = np.random.default_rng([seed, 1])
        names = list(SHARES)
        shares = np.array([SHARES[name] for name in names])
        drawn = rng.choice(len(names), windows, p=shares / shares.sum())
        self._windows = [_draw_window(names[number], patch, rng) for number in drawn]

    def make_batch(
        self, number: int, size: int, *, for_repair: bool, clean: float = 0.2
    ) -> list[Sample]:
        """for_repair: damage without what scanning and saving do to a whole picture, which a mask
        cannot undo; clean: else, the share of samples without damage, 0..1"""
        rng = np.random.default_rng([self.seed, 2, number])
        if for_repair:
            return [self._for_repair(rng) for _ in range(size)]
        return [self._for_detection(rng, without=clean) for _ in range(size)]

    def _for_detection(self, rng: np.random.Generator, *, without: float) -> Sample:
        clean = self._cut(rng)
        names = list(LOOKALIKES)
        if rng.uniform() < 0.15:
            clean = LOOKALIKES[names[int(rng.integers(len(names)))]](clean, rng)
        if rng.uniform() < 0.4:
            clean = age_photo(clean, rng, _AGING)
        damaged, opacity = self._damage(clean, rng, none=without)
        change = np.abs(damaged.picture.astype(np.int16) - clean).max(2)
        plain = (change >= FAINT) & (opacity >= FAINT_OPACITY)
        mask, asked = damaged.mask & plain, ~damaged.mask | plain
        return Sample(clean, _scan(damaged.picture, rng), mask, asked)

    def _for_repair(self, rng: np.random.Generator) -> Sample:
        clean = self._cut(rng)
        if rng.uniform() < 0.3:
            clean = age_photo(clean, rng, _AGING)
        damaged, _ = self._damage(clean, rng, none=0.0)
        mask = damaged.mask
        if rng.uniform() < 0.7:  # masks that are found are a little too wide
            side = int(rng.choice([2, 3, 3, 5]))
            mask = cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
        return Sample(clean, damaged.picture, mask, mask)

    def _cut(self, rng: np.random.Generator) -> Photo:
        photo = self._photos[int(rng.choice(len(self._photos), p=self._odds))]
        top = int(rng.integers(photo.shape[0] - self.patch + 1))
        left = int(rng.integers(photo.shape[1] - self.patch + 1))
        cut = photo[top : top + self.patch, left : left + self.patch]
        cut = np.rot90(cut, int(rng.integers(4)))
        cut = np.ascontiguousarray(cut[:, ::-1] if rng.uniform() < 0.5 else cut)
        return jitter_color(cut, rng) if rng.uniform() < 0.7 else cut

    def _damage(
        self, clean: Photo, rng: np.random.Generator, *, none: float
    ) -> tuple[Damaged, Plane]:
        """The damaged picture, and the largest opacity of damage at each pixel."""
        damaged = Damaged(clean, np.zeros(clean.shape[:2], bool))
        opacity: Plane = np.zeros(clean.shape[:2], np.float32)
        if rng.uniform() < none:
            return damaged, opacity
        for _ in range(1 + int(rng.poisson(1.2))):
            layer = self._windows[int(rng.integers(len(self._windows)))].to_layer(rng)
            damaged = apply_layer(damaged, layer)
            opacity = np.maximum(opacity, layer.opacity)
        return damaged, opacity


def _read_photos(patch: int) -> tuple[list[Photo], NDArray[np.float64]]:
    photos, odds = [], []
    for entry in TRAINING:
        original = read_free_photo(entry)
        for size in _SIZES:
            photo = shrink_photo(original, size)
            if min(photo.shape[:2]) >= patch:
                photos.append(photo)
                odds.append((0.3 if entry.name in _RARE else 1.0) * size)
    return photos, np.array(odds) / sum(odds)


def _draw_window(name: str, patch: int, rng: np.random.Generator) -> _Window:
    """A part of a defect, around a random pixel of it."""
    shape = (_DRAWN_SIDE, _DRAWN_SIDE)
    layer = DEFECTS[name](shape, rng)
    rows, columns = np.nonzero(layer.opacity > 1 / 16)
    while not len(rows):
        layer = DEFECTS[name](shape, rng)
        rows, columns = np.nonzero(layer.opacity > 1 / 16)
    chosen = int(rng.integers(len(rows)))
    shift = rng.integers(-patch // 3, patch // 3 + 1, 2)
    last = _DRAWN_SIDE - patch
    top = int(np.clip(rows[chosen] - patch // 2 + shift[0], 0, last))
    left = int(np.clip(columns[chosen] - patch // 2 + shift[1], 0, last))
    inside = (slice(top, top + patch), slice(left, left + patch))
    opacity = np.rint(np.clip(layer.opacity[inside], 0, 1) * 255).astype(np.uint8)
    color = np.clip(layer.color, 0, 255).astype(np.uint8)
    return _Window(opacity, color[inside].copy() if color.ndim == 3 else color)


def _scan(picture: Photo, rng: np.random.Generator) -> Photo:
    """What a scanner and a file do to the whole picture: blur, grain, JPEG."""
    if rng.uniform() < 0.4:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 0.9)), np.uint8)
    if rng.uniform() < 0.5:
        grain = rng.normal(0, rng.uniform(0.5, 7), picture.shape[:2])[..., None]
        picture = np.rint(np.clip(picture + grain, 0, 255)).astype(np.uint8)
    if rng.uniform() < 0.4:
        quality = int(rng.integers(60, 98))
        done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        assert done
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return picture


def stack(pictures: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
    """(count, channels, height, width) in 0..1, of pictures in 0..255 or masks."""
    planes = np.stack(pictures)
    if planes.dtype == np.bool_:
        return planes[:, None].astype(np.float32)
    return np.ascontiguousarray(planes.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)
