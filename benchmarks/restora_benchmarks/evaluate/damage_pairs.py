"""Pairs of a clean photo and the same photo with damage from the model of damage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from restora_training.damage import AgingRange, Damaged, age_photo
from restora_training.damage.layer import Layer, apply_layer
from restora_training.damage.lines import draw_scratch
from restora_training.damage.model import iter_defects

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SEED = 7_000_000  # no seed of training
_NARROWEST_PX = 1.25  # a scratch gets narrower towards its ends
_SOFT_PX = 0.9  # standard deviation of the blur of a soft scan
_GRAIN = 5.0  # levels, standard deviation of its grain


@dataclass(frozen=True, slots=True)
class DamagePair:
    """clean, picture: uint8 RGB, (height, width, 3); mask: the damaged pixels; kinds: by kind of
    damage, those on which it was drawn last"""

    clean: Pixels
    picture: Pixels
    mask: Mask
    kinds: Mapping[str, Mask]


def iter_scratched(photo: Pixels, draws: int, number: int = 0) -> Iterator[DamagePair]:
    """The photo with three scratches.

    number: of the photo; each has damage of its own
    """
    shape = photo.shape[:2]
    for draw in range(draws):
        rng = np.random.default_rng([SEED, 1, draw, number])
        yield _damage(photo, [("scratch", _draw_scratch(shape, rng)) for _ in range(3)])


def iter_scans(photo: Pixels, draws: int, number: int = 0) -> Iterator[DamagePair]:
    """The pairs of iter_scratched as a soft and grainy scan shows them: blurred by 0.9 pixels, with
    grain of 5 levels. Both pictures of a pair have the same grain and differ in damage only."""
    for draw, pair in enumerate(iter_scratched(photo, draws, number)):
        rng = np.random.default_rng([SEED, 4, draw, number])
        grain = rng.normal(0, _GRAIN, (*pair.mask.shape, 1))
        clean, picture = (_scan(pixels, grain) for pixels in (pair.clean, pair.picture))
        yield DamagePair(clean, picture, pair.mask, pair.kinds)


def iter_pairs(photo: Pixels, draws: int, number: int = 0) -> Iterator[DamagePair]:
    """The photo with damage of all kinds; every second one is aged before.

    number: of the photo; each has damage of its own
    """
    for draw in range(draws):
        rng = np.random.default_rng([SEED, 2, draw, number])
        clean = age_photo(photo, rng, AgingRange(halftone=0)) if draw % 2 else photo
        pair = _damage(clean, iter_defects(clean.shape[:2], rng))
        while not pair.mask.any():
            pair = _damage(clean, iter_defects(clean.shape[:2], rng))
        yield pair


def _draw_scratch(shape: tuple[int, int], rng: np.random.Generator) -> Layer:
    return draw_scratch(shape, rng, narrowest_px=_NARROWEST_PX)


def _scan(pixels: Pixels, grain: NDArray[np.float64]) -> Pixels:
    soft = cv2.GaussianBlur(pixels, (0, 0), _SOFT_PX)
    return np.rint(np.clip(soft + grain, 0, 255)).astype(np.uint8)


def _damage(clean: Pixels, defects: Iterable[tuple[str, Layer]]) -> DamagePair:
    damaged = Damaged(clean, np.zeros(clean.shape[:2], bool))
    kinds: dict[str, Mask] = {}
    for kind, layer in defects:
        damaged = apply_layer(damaged, layer)
        kinds = {name: mask & ~layer.mask for name, mask in kinds.items()}
        kinds[kind] = kinds[kind] | layer.mask if kind in kinds else layer.mask
    return DamagePair(clean, damaged.picture, damaged.mask, kinds)
