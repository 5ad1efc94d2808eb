"""Clean pictures of what grows and looks damaged: branches, fibers and veined wings and leaves.

Each function draws onto a picture, uint8 RGB (height, width, 3), and returns a new one.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from restora_training.damage.ink import blend_ink, choose_ink, make_sky
from restora_training.damage.layer import Photo, Plane, Points, draw_tapered, random_point, wander

_OUTLINE_POINTS = 33  # on each side of a wing

Line = tuple[Points, NDArray[np.floating]]  # a path, and the width of each of its pieces


def draw_branches(photo: Photo, rng: np.random.Generator) -> Photo:
    """A bare tree before the sky: dark limbs that divide into twigs."""
    picture = make_sky(photo, rng)
    shape = picture.shape[:2]
    ink = choose_ink(rng, dark=True)
    start = np.array([rng.uniform(0, shape[1]), float(shape[0])])
    todo = [(start, -np.pi / 2 + rng.normal(0, 0.3), rng.uniform(4, 14), 0)]
    while todo:
        root, angle, width_px, depth = todo.pop()
        length = max(shape) * rng.uniform(0.15, 0.4) * 0.75**depth
        path = wander(root, angle, length, 0.8, rng)
        widths = np.linspace(width_px, width_px * 0.6, len(path) - 1)
        picture = blend_ink(picture, draw_tapered(shape, path, np.maximum(widths, 0.6)), ink)
        if depth < 4 and width_px > 0.9:
            for side in (-1, 1):
                number = int(rng.integers(len(path) // 2, len(path)))
                turn = side * rng.uniform(0.2, 0.9)
                todo.append((path[number], angle + turn, width_px * 0.6, depth + 1))
    return picture


def draw_fibers(photo: Photo, rng: np.random.Generator) -> Photo:
    """Whiskers, bristles, the down of seeds, blades of grass: fibers that taper and spread from
    nearly one place. Some are out of focus."""
    picture = photo.copy() if rng.uniform() < 0.6 else make_sky(photo, rng)
    shape = picture.shape[:2]
    for _ in range(int(rng.integers(1, 3))):
        root, angle = random_point(shape, rng), rng.uniform(0, 2 * np.pi)
        spread, apart = 0.1 * 30 ** rng.uniform(0, 1), rng.uniform(0, 0.06) * max(shape)
        longest = max(shape) * rng.uniform(0.15, 0.9)
        width_px, bend = 0.8 * 4 ** rng.uniform(0, 1), rng.uniform(0.05, 1.2)
        bright, blurred = rng.uniform() < 0.7, rng.uniform(0, 0.7)
        ink, even = choose_ink(rng, dark=not bright), rng.uniform() < 0.3
        for _ in range(int(6 * 8 ** rng.uniform(0, 1))):
            start = root + rng.normal(0, 1, 2) * apart
            turned = angle + rng.uniform(-spread, spread)
            path = wander(start, turned, longest * rng.uniform(0.4, 1.0), bend, rng)
            last = 1.0 if even else rng.uniform(0.2, 0.6)
            widths = width_px * rng.uniform(0.6, 1.2) * np.linspace(1, last, len(path) - 1)
            line = draw_tapered(shape, path, np.maximum(widths, 0.4))
            if rng.uniform() < blurred:
                soft = cv2.GaussianBlur(line, (0, 0), 0.7 * 6 ** rng.uniform(0, 1))
                line = np.asarray(soft, np.float32)
            picture = blend_ink(picture, line * rng.uniform(0.3, 1.0), ink)
    return picture


def draw_wings(photo: Photo, rng: np.random.Generator) -> Photo:
    """Wings of insects, leaves and petals: two to four veined shapes with one root, clear or
    opaque, with a rim that is strong on one side."""
    picture = photo.copy() if rng.uniform() < 0.7 else make_sky(photo, rng)
    shape = picture.shape[:2]
    root, angle = random_point(shape, rng), rng.uniform(0, 2 * np.pi)
    length = max(shape) * rng.uniform(0.25, 1.0)
    slim, width_px = rng.uniform(0.12, 0.5), 0.8 * 4 ** rng.uniform(0, 1)
    clear = rng.uniform(0, 0.25) if rng.uniform() < 0.7 else rng.uniform(0.4, 1.0)
    filling, ink = choose_ink(rng, dark=False), choose_ink(rng, dark=rng.uniform() < 0.5)
    strong, sharp = rng.uniform(0.4, 1.0), rng.uniform(0.3, 1.3)
    tint = np.rint(np.array(filling) * rng.uniform(0.3, 1.0, 3)).astype(int).tolist()
    turn = 0.0
    for number in range(int(rng.integers(2, 5))):
        wing = _Wing(root, angle + turn, length * rng.uniform(0.8, 1.0), slim, rng)
        turn = rng.uniform(0.3, 0.9) if number % 2 else np.pi + rng.uniform(-0.5, 0.5)
        area = np.zeros(shape, np.uint8)
        corners = np.rint(wing.outline * 16).astype(np.int32)
        cv2.fillPoly(area, [corners], 255, cv2.LINE_AA, 4)
        share = np.asarray(area, np.float32) * np.float32(clear / 255)
        picture = blend_ink(picture, share, tuple(tint))
        opacity: Plane = np.zeros(shape, np.float32)
        for path, widths in wing.iter_lines(width_px, rng):
            drawn = draw_tapered(shape, path, np.maximum(widths, 0.4))
            opacity = np.maximum(opacity, drawn * min(1.0, float(widths.max())))
        opacity = np.asarray(cv2.GaussianBlur(opacity, (0, 0), sharp), np.float32)
        picture = blend_ink(picture, opacity * strong, ink)
    return picture


class _Wing:
    """A shape that is slim at both ends: points by how far they are from the root, 0..1, and from
    the axis, -1..1."""

    def __init__(
        self, root: Points, angle: float, length: float, slim: float, rng: np.random.Generator
    ) -> None:
        self._root, self._length, self._slim = root, length, slim
        self._along = np.array([np.cos(angle), np.sin(angle)])
        self._aside = np.array([-np.sin(angle), np.cos(angle)])
        self._full, self._bow = rng.uniform(0.6, 1.6), rng.uniform(-0.15, 0.15)

    def locate(self, far: NDArray[np.floating], side: NDArray[np.floating]) -> Points:
        wide = np.sin(np.pi * far**self._full) * self._slim / 2
        across = side * wide + self._bow * np.sin(np.pi * far)
        shift: Points = far[:, None] * self._along + across[:, None] * self._aside
        return self._root + self._length * shift

    @property
    def outline(self) -> Points:
        far = np.linspace(0, 1, _OUTLINE_POINTS)
        there, back = self.locate(far, np.ones_like(far)), self.locate(far, -np.ones_like(far))
        return np.concatenate((there, back[::-1]))

    def iter_lines(self, width_px: float, rng: np.random.Generator) -> Iterator[Line]:
        """The rim, veins along the shape or from its axis, and in half of all shapes cells."""
        far, net = np.linspace(0, 1, _OUTLINE_POINTS), rng.uniform() < 0.5
        for side, part in ((1.0, 1.0), (-1.0, rng.uniform(0.3, 1.0))):
            path = self.locate(far, np.full_like(far, side))
            yield path, np.full(len(path) - 1, width_px * part)
        sides = np.sort(rng.uniform(-0.9, 0.9, int(rng.integers(1, 8)))) if net else np.zeros(1)
        for side in sides:
            path = self.locate(far, np.full_like(far, side))
            yield path, width_px * np.linspace(rng.uniform(0.5, 1), 0.3, len(path) - 1)
        for _ in range(int(rng.integers(10, 60))):
            at = rng.uniform(0.05, 0.95)
            if net:  # from one vein to the next
                edges = np.concatenate(([-1.0], sides, [1.0]))
                number = int(rng.integers(len(edges) - 1))
                ends = np.array([at, at + rng.normal(0, 0.02)]), edges[number : number + 2]
            else:
                side = float(rng.choice([-1.0, 1.0]))
                ends = np.array([at, min(1.0, at + 0.25)]), np.array([0.0, side])
            yield self.locate(np.clip(ends[0], 0, 1), ends[1]), np.full(1, width_px * 0.4)
