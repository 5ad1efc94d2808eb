"""Lines that belong to what a photo shows: lit rims of objects, bars and tubes, drawn and engraved
lines. They end where their object ends, take its color, and vary in brightness; a scratch does not.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from restora_training.damage.layer import Photo, Plane, draw_noise, draw_tapered, wander


def draw_rim(picture: Photo, share: Plane, rng: np.random.Generator) -> Photo:
    """A lit or a dark line along the outline of a shape.

    picture: uint8 RGB, (height, width, 3); share: the coverage of the shape, (height, width)
    """
    soft = np.asarray(cv2.GaussianBlur(share, (0, 0), 0.5 * 4 ** rng.uniform(0, 1)), np.float32)
    rim = np.clip(4 * soft * (1 - soft), 0, 1) ** 2
    return _blend(picture, rim * _vary(rim.shape, rng), _color(picture, rng))


def draw_strokes(picture: Photo, rng: np.random.Generator) -> Photo:
    """One to four lines on an object."""
    side = len(picture)
    for _ in range(int(rng.integers(1, 5))):
        # what curls more is a hair
        bend, length = rng.choice([0.02, 0.3, 0.6]), side * rng.uniform(0.2, 1.5)
        path = wander(rng.uniform(0, side, 2), rng.uniform(0, 2 * np.pi), length, bend, rng)
        widths = np.full(len(path) - 1, 0.8 * 7 ** rng.uniform(0, 1))
        line = draw_tapered((side, side), path, widths)
        line = np.asarray(cv2.GaussianBlur(line, (0, 0), rng.uniform(0.3, 1.3)), np.float32)
        picture = _blend(picture, line * _vary(line.shape, rng), _color(picture, rng))
    return picture


def draw_bar(picture: Photo, rng: np.random.Generator) -> Photo:
    """A bar or a tube of 3 to 14 pixels, shaded across."""
    side = len(picture)
    ends = rng.uniform(-0.3, 1.3, (2, 2)) * side
    width_px = rng.uniform(3, 14)
    along = ends[1] - ends[0]
    aside = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6)
    for part in (1.0, rng.uniform(0.4, 0.8), rng.uniform(0.1, 0.4)):
        path = ends + aside * width_px * (1 - part) * rng.uniform(-0.5, 0.5)
        line = draw_tapered((side, side), path, np.full(1, max(0.8, width_px * part)))
        line = np.asarray(cv2.GaussianBlur(line, (0, 0), rng.uniform(0.3, 1.0)), np.float32)
        picture = _blend(picture, line * rng.uniform(0.6, 1.0), _color(picture, rng))
    return picture


def _vary(shape: tuple[int, int], rng: np.random.Generator) -> Plane:
    """An opacity that changes along a line; sometimes a constant one."""
    most = rng.uniform(0.3, 1.0)
    if rng.uniform() < 0.3:
        return np.full(shape, most, np.float32)
    noise = draw_noise(shape, max(shape) * rng.uniform(0.1, 0.5), rng)
    return np.asarray(most * np.clip(0.5 + 0.6 * noise, 0, 1), np.float32)


def _color(picture: Photo, rng: np.random.Generator) -> NDArray[np.float64]:
    """A lighter or darker one of the colors of the picture; sometimes any color."""
    kind = rng.uniform()
    if kind < 0.2:
        return rng.uniform(0, 255, 3)
    row, column = rng.integers(0, len(picture), 2)
    own: NDArray[np.float64] = picture[row, column].astype(np.float64)
    if kind < 0.6:
        return own + (255 - own) * rng.uniform(0.2, 1.0)
    return own * rng.uniform(0, 0.8)


def _blend(picture: Photo, share: Plane, color: NDArray[np.float64]) -> Photo:
    mixed = picture + (color.astype(np.float32) - picture) * share[..., None]
    return np.asarray(np.rint(np.clip(mixed, 0, 255)), np.uint8)
