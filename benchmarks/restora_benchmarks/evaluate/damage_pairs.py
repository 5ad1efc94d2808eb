"""Pairs of a clean photo and the same photo with damage from the model of damage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

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


def _damage(clean: Pixels, defects: Iterable[tuple[str, Layer]]) -> DamagePair:
    damaged = Damaged(clean, np.zeros(clean.shape[:2], bool))
    kinds: dict[str, Mask] = {}
    for kind, layer in defects:
        damaged = apply_layer(damaged, layer)
        kinds = {name: mask & ~layer.mask for name, mask in kinds.items()}
        kinds[kind] = kinds[kind] | layer.mask if kind in kinds else layer.mask
    return DamagePair(clean, damaged.picture, damaged.mask, kinds)
