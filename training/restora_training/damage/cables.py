"""Taut cables, rods and masts: straight lines of one width that cross the whole picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from restora_training.damage.ink import Ink, blend_ink, choose_ink, make_sky, sharpen, tint_ink
from restora_training.damage.layer import Photo, Points, draw_tapered, random_point


@dataclass(frozen=True, slots=True)
class _Group:
    """Nearly parallel cables.

    middle, along: a point of the first one, and its direction, of length 1
    thick, gap: in pixels
    lit: the color of the side that the sun lights; None if it lights none
    opacity: 0..1
    soft: standard deviation of their blur, in pixels
    """

    middle: Points
    along: Points
    thick: float
    gap: float
    ink: Ink
    lit: Ink | None
    opacity: float
    soft: float

    @property
    def aside(self) -> Points:
        return np.array([-self.along[1], self.along[0]])

    def draw(self, picture: Photo, rng: np.random.Generator) -> Photo:
        """One to five cables at different distances."""
        at = 0.0
        for _ in range(int(rng.integers(1, 6))):
            along = self.along + self.aside * rng.normal(0, 0.02)
            start = self.middle + self.aside * at
            picture = self._draw_line(picture, start, along, self.thick, self.ink)
            if self.lit is not None:
                side = start + self.aside * self.thick / 2
                picture = self._draw_line(picture, side, along, self.thick / 3, self.lit)
            at += self.thick + self.gap * rng.uniform(0.2, 1.8)
        return picture

    def _draw_line(
        self, picture: Photo, start: Points, along: Points, thick: float, ink: Ink
    ) -> Photo:
        height, width = picture.shape[:2]
        reach = float(np.hypot(height, width)) * along
        path = np.stack((start - reach, start + reach))
        line = draw_tapered((height, width), path, np.full(1, thick))
        line = np.asarray(cv2.GaussianBlur(line, (0, 0), self.soft), np.float32)
        return blend_ink(picture, line * np.float32(self.opacity), ink)


def draw_cables(photo: Photo, rng: np.random.Generator) -> Photo:
    """One to three groups, each in a direction of its own. Light from the sky and haze tint them,
    the sun lights one side of some, and cameras sharpen their rims."""
    picture = make_sky(photo, rng) if rng.uniform() < 0.6 else photo.copy()
    for _ in range(int(rng.integers(1, 4))):
        picture = _choose_group(picture, rng).draw(picture, rng)
    return sharpen(picture, rng.uniform(0.5, 2.0)) if rng.uniform() < 0.4 else picture


def _choose_group(picture: Photo, rng: np.random.Generator) -> _Group:
    angle, middle = rng.uniform(0, np.pi), random_point(picture.shape[:2], rng)
    return _Group(
        middle,
        np.array([np.cos(angle), np.sin(angle)]),
        thick=0.8 * 8 ** rng.uniform(0, 1),
        gap=rng.uniform(4, 60),
        ink=tint_ink(choose_ink(rng, dark=rng.uniform() < 0.7), picture, rng),
        lit=choose_ink(rng, dark=False) if rng.uniform() < 0.4 else None,
        opacity=rng.uniform(0.6, 1.0),
        soft=rng.uniform(0.3, 1.0),
    )
