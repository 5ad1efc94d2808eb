"""What age does to a whole print: faded color, yellowing, silver mirroring, texture, halftone.

All functions take and return float32 RGB (height, width, 3) in 0..1.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from restora_training.damage.layer import draw_noise

Pixels = NDArray[np.float32]


def fade(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """Each dye keeps a part of its density: contrast falls and black turns into a color."""
    low = rng.uniform(0.02, 0.25, 3)
    high = rng.uniform(0.75, 1.0, 3)
    gamma = rng.uniform(0.75, 1.25, 3)
    return np.asarray(low + (high - low) * photo**gamma, np.float32)


def fade_unevenly(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """Parts that lay in the light are paler."""
    share = 0.5 + 0.5 * np.tanh(draw_noise(photo.shape[:2], max(photo.shape) / 2, rng))
    paler = photo + (0.9 - photo) * rng.uniform(0.1, 0.4)
    return np.asarray(photo + (paler - photo) * share[..., None], np.float32)


def yellow(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """Paper and gelatin turn yellow: blue falls most, above all in the highlights."""
    strength = rng.uniform(0.1, 0.45)
    loss = strength * np.array([0.1, 0.35, 1.0], np.float32)
    return np.asarray(photo * (1 - loss * (0.5 + 0.5 * photo)), np.float32)


def lose_channel(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """One dye has nearly gone."""
    channel = int(rng.integers(3))
    kept = rng.uniform(0.35, 0.75)
    result = photo.copy()
    result[..., channel] = 1 - kept * (1 - photo[..., channel])
    return result


def mirror_silver(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """Silver at the surface: dark parts near the edges get a bluish sheen."""
    height, width = photo.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    edge = np.minimum(np.minimum(columns, width - 1 - columns), np.minimum(rows, height - 1 - rows))
    reach = rng.uniform(0.05, 0.25) * min(height, width)
    near = np.exp(-edge / reach) * (0.7 + 0.3 * draw_noise((height, width), reach, rng))
    sheen = np.array([0.62, 0.66, 0.72], np.float32)
    dark = (1 - photo.mean(2)) ** 2
    share = np.clip(near * dark * rng.uniform(0.4, 0.9), 0, 1)[..., None]
    return np.asarray(photo * (1 - share) + sheen * share, np.float32)


def add_texture(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """Paper texture: matte grain, or the regular pattern of silk paper."""
    height, width = photo.shape[:2]
    grain = draw_noise((height, width), rng.uniform(1.5, 4), rng)
    if rng.uniform() < 0.3:
        rows, columns = np.mgrid[:height, :width]
        period, angle = rng.uniform(4, 9), rng.uniform(0, np.pi)
        u = columns * np.cos(angle) + rows * np.sin(angle)
        v = rows * np.cos(angle) - columns * np.sin(angle)
        grain = np.sin(2 * np.pi * u / period) * np.sin(2 * np.pi * v / period) * 1.4
    return np.asarray(photo + rng.uniform(0.01, 0.04) * grain[..., None], np.float32)


def print_halftone(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """Printed in dots, as in a newspaper or a book, with a screen for each of three inks."""
    height, width = photo.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    period = rng.uniform(3, 6)
    result = np.empty_like(photo)
    for channel, angle in enumerate(np.deg2rad([15, 75, 0])):
        u = (columns * np.cos(angle) + rows * np.sin(angle)) * 2 * np.pi / period
        v = (rows * np.cos(angle) - columns * np.sin(angle)) * 2 * np.pi / period
        screen = 0.5 + 0.25 * (np.cos(u) + np.cos(v))
        result[..., channel] = np.clip((photo[..., channel] - screen) * 3 + 0.5, 0, 1)
    soft = cv2.GaussianBlur(result, (0, 0), period / 4)
    share = np.float32(rng.uniform(0.5, 1.0))
    return np.asarray(photo + (np.asarray(soft) - photo) * share, np.float32)
