"""Pairs of a clean photo and the same photo with damage from the model of damage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from restora_training.damage import AgingRange, Damaged, age_photo, damage_photo
from restora_training.damage.layer import apply_layer
from restora_training.damage.lines import draw_scratch

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SEED = 7_000_000  # no seed of training
_NARROWEST_PX = 1.25  # a scratch gets narrower towards its ends


@dataclass(frozen=True, slots=True)
class DamagePair:
    clean: Pixels
    picture: Pixels
    mask: Mask


def iter_scratched(photo: Pixels, draws: int) -> Iterator[DamagePair]:
    """The photo with three scratches."""
    for draw in range(draws):
        rng = np.random.default_rng([SEED, 1, draw])
        damaged = Damaged(photo, np.zeros(photo.shape[:2], bool))
        for _ in range(3):
            layer = draw_scratch(photo.shape[:2], rng, narrowest_px=_NARROWEST_PX)
            damaged = apply_layer(damaged, layer)
        yield DamagePair(photo, damaged.picture, damaged.mask)


def iter_pairs(photo: Pixels, draws: int) -> Iterator[DamagePair]:
    """The photo with damage of all kinds; every second one is aged before."""
    for draw in range(draws):
        rng = np.random.default_rng([SEED, 2, draw])
        clean = age_photo(photo, rng, AgingRange(halftone=0)) if draw % 2 else photo
        damaged = damage_photo(clean, rng)
        while not damaged.mask.any():
            damaged = damage_photo(clean, rng)
        yield DamagePair(clean, damaged.picture, damaged.mask)
