"""Damage drawn at random: which defects a print has, and how it aged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from restora_training.damage import aging, breaks, lines, spots
from restora_training.damage.layer import Damaged, Layer, Photo, apply_layer

Draw = Callable[[tuple[int, int], np.random.Generator], Layer]

DEFECTS: Mapping[str, Draw] = {
    "scratch": lines.draw_scratch,
    "scratches": lines.draw_scratches,
    "hair": lines.draw_hair,
    "dust": spots.draw_dust,
    "mold": spots.draw_mold,
    "stain": spots.draw_stain,
    "water_rim": spots.draw_water_rim,
    "fold": breaks.draw_fold,
    "cracks": breaks.draw_cracks,
    "torn_edge": breaks.draw_torn_edge,
    "missing_corner": breaks.draw_missing_corner,
    "tape": breaks.draw_tape,
    "flakes": spots.draw_flakes,
}


@dataclass(frozen=True, slots=True)
class DamageRange:
    """How many defects of each kind: the mean of a Poisson distribution."""

    means: Mapping[str, float] = field(
        default_factory=lambda: {
            "scratch": 2.5,
            "scratches": 0.3,
            "hair": 0.7,
            "dust": 0.8,
            "mold": 0.15,
            "stain": 0.2,
            "water_rim": 0.15,
            "fold": 0.35,
            "cracks": 0.3,
            "torn_edge": 0.1,
            "missing_corner": 0.08,
            "tape": 0.08,
            "flakes": 0.3,
        }
    )

    def __post_init__(self) -> None:
        unknown = sorted(set(self.means) - set(DEFECTS))
        if unknown:
            raise ValueError(f"defects are {', '.join(DEFECTS)}; got {', '.join(unknown)}")


@dataclass(frozen=True, slots=True)
class AgingRange:
    """Probability of each kind of aging."""

    fade: float = 0.5
    fade_unevenly: float = 0.2
    yellow: float = 0.4
    lose_channel: float = 0.05
    mirror_silver: float = 0.08
    texture: float = 0.25
    halftone: float = 0.05


def damage_photo(
    photo: Photo, rng: np.random.Generator, ranges: DamageRange | None = None
) -> Damaged:
    """Put random defects on a picture, in random order.

    photo: uint8 RGB, (height, width, 3)

    Returns the picture and the exact mask: all other pixels are those of `photo`, bit for bit.
    """
    damaged = Damaged(photo, np.zeros(photo.shape[:2], bool))
    for _, layer in iter_defects(photo.shape[:2], rng, ranges):
        damaged = apply_layer(damaged, layer)
    return damaged


def iter_defects(
    shape: tuple[int, int], rng: np.random.Generator, ranges: DamageRange | None = None
) -> Iterator[tuple[str, Layer]]:
    """The kind and the layer of each of the random defects of one picture, in random order.

    shape: (height, width)
    """
    ranges = ranges or DamageRange()
    drawn = [name for name, mean in ranges.means.items() for _ in range(int(rng.poisson(mean)))]
    for index in rng.permutation(len(drawn)):
        yield drawn[index], DEFECTS[drawn[index]](shape, rng)


def age_photo(photo: Photo, rng: np.random.Generator, ranges: AgingRange | None = None) -> Photo:
    """Age a whole picture: fade it, yellow it, give it the texture of paper."""
    ranges = ranges or AgingRange()
    pixels: aging.Pixels = photo.astype(np.float32) / np.float32(255)
    steps = (
        (ranges.halftone, aging.print_halftone),
        (ranges.fade, aging.fade),
        (ranges.lose_channel, aging.lose_channel),
        (ranges.fade_unevenly, aging.fade_unevenly),
        (ranges.yellow, aging.yellow),
        (ranges.mirror_silver, aging.mirror_silver),
        (ranges.texture, aging.add_texture),
    )
    for chance, change in steps:
        if rng.uniform() < chance:
            pixels = change(pixels, rng).clip(0, 1)
    return np.rint(pixels * 255).astype(np.uint8)
