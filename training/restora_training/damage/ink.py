"""What clean pictures that look damaged are drawn with: paper, sky and ink."""

from __future__ import annotations

import cv2
import numpy as np

from restora_training.damage.layer import Photo, Plane

Ink = tuple[int, int, int]


def make_paper(photo: Photo, rng: np.random.Generator) -> Photo:
    """An empty sheet of the size of the photo, a little uneven."""
    level = rng.uniform(205, 255) - rng.uniform(0, 30) * np.array([0.0, 0.3, 1.0])
    grain = rng.normal(0, rng.uniform(0, 3), photo.shape[:2])[..., None]
    return np.rint(np.clip(level + grain, 0, 255)).astype(np.uint8)


def make_sky(photo: Photo, rng: np.random.Generator) -> Photo:
    """A bright gradient; sometimes the photo itself, out of focus."""
    height, width = photo.shape[:2]
    if rng.uniform() < 0.3:
        return np.asarray(cv2.GaussianBlur(photo, (0, 0), rng.uniform(3, 8)), np.uint8)
    top, bottom = (rng.uniform(120, 250) + rng.normal(0, 25, 3) for _ in range(2))
    share = np.linspace(0, 1, height)[:, None, None]
    grain = rng.normal(0, rng.uniform(0.5, 3), (height, width))[..., None]
    sky = top + (bottom - top) * share + grain
    return np.rint(np.clip(sky, 0, 255)).astype(np.uint8)


def choose_ink(rng: np.random.Generator, *, dark: bool) -> Ink:
    """A nearly gray color: up to 90, or 200 and more."""
    level = rng.uniform(0, 90) if dark else rng.uniform(200, 255)
    red, green, blue = np.clip(level + rng.normal(0, 10, 3), 0, 255).astype(int).tolist()
    return red, green, blue


def tint_ink(ink: Ink, picture: Photo, rng: np.random.Generator) -> Ink:
    """Half of the time, the ink with up to 70 % of a color of the picture, as through haze."""
    if rng.uniform() < 0.5:
        return ink
    row, column = (int(rng.integers(side)) for side in picture.shape[:2])
    share = rng.uniform(0, 0.7)
    mixed = np.array(ink) * (1 - share) + picture[row, column] * share
    red, green, blue = mixed.astype(int).tolist()
    return red, green, blue


def sharpen(picture: Photo, amount: float) -> Photo:
    """Add `amount` times what the pixels differ from their surroundings (unsharp mask)."""
    soft = cv2.GaussianBlur(picture, (0, 0), 1.2)
    return np.asarray(cv2.addWeighted(picture, 1 + amount, soft, -amount, 0), np.uint8)


def blend_ink(picture: Photo, opacity: Plane, ink: Ink) -> Photo:
    """opacity: (height, width), 0..1"""
    share = opacity[..., None]
    return np.rint(picture * (1 - share) + np.array(ink, np.float32) * share).astype(np.uint8)
